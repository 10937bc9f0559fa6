"""Tiles give what the whole picture gives, in any batch, within any memory."""

import dask.array as da
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._raster.grid import make_tiles
from pixnet_sd._raster.picture import Picture
from pixnet_sd._settings import logger
from pixnet_sd.nn.inference.tiling import WithinMemory, over_tiles

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 45, 70), dtype=np.uint8)
PICTURE = Picture(da.from_array(PIXELS, chunks=(3, 20, 33)))


def blur(image: torch.Tensor) -> list[torch.Tensor]:
    """Two outputs, at strides 1 and 4, that see 3 px and 1 px beyond."""
    padded = F.pad(image, (3, 3, 3, 3), value=1.0)
    return [F.avg_pool2d(padded, 7, 1), F.avg_pool2d(image, 4)]


def whole() -> list[np.ndarray]:
    white = np.full((1, 3, 64, 80), 255, np.uint8)
    white[0, :, :45, :70] = PIXELS
    fine, coarse = blur(torch.from_numpy(white).float() / 255)
    return [fine[0, :, :45, :70].numpy(), coarse[0, :, :12, :18].numpy()]


def assembled(size: int, batch_size: int) -> list[np.ndarray]:
    plan = make_tiles(45, 70, size=size, stride=4, margin=4)
    out = [np.full((3, 45, 70), np.nan), np.full((3, 12, 18), np.nan)]
    for done in over_tiles(blur, PICTURE, plan, (1, 4), batch_size=batch_size):
        for target, part, stride in zip(out, done.maps, (1, 4), strict=True):
            target[:, *done.core.coarsened(stride).slices] = part
    return out


@pytest.mark.parametrize(("size", "batch_size"), [(8, 1), (16, 5), (28, 2), (400, 3)])
def test_tiles_equal_the_whole_with_white_around_it(size: int, batch_size: int) -> None:
    for part, expected in zip(assembled(size, batch_size), whole(), strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-6)


def test_the_network_is_called_once_for_each_tile() -> None:
    seen: list[int] = []

    def counted(image: torch.Tensor) -> list[torch.Tensor]:
        seen.append(len(image))
        return blur(image)

    plan = list(make_tiles(45, 70, size=16, stride=4))
    list(over_tiles(counted, PICTURE, plan, (1, 4), batch_size=4))
    assert sum(seen) == len(plan)
    assert max(seen) == 4


class Small:
    """A device that holds two tiles."""

    def __init__(self, room: int) -> None:
        self.room, self.sizes = room, list[int]()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(image))
        if len(image) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return image * 2


def test_out_of_memory_halves_the_batch_for_good_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    device = Small(room=2)
    compute, image = WithinMemory(device, "cpu"), np.random.default_rng(0).integers(0, 256, (7, 3, 4, 4), np.uint8)
    logger.addHandler(caplog.handler)
    for _ in range(2):
        np.testing.assert_array_equal(compute(image)[0].numpy(), np.float32(image) / 255 * 2)
    logger.removeHandler(caplog.handler)
    assert device.sizes == [7, 3, 1, *[1] * 6, *[1] * 7]
    assert len(caplog.records) == 1


def test_a_tile_that_never_fits_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(PixnetRuntimeError, match=r"4 x 4 px does not fit.*memory of cpu.*smaller tile_size"):
        WithinMemory(Small(room=0), "cpu")(np.zeros((3, 3, 4, 4), np.uint8))


def test_an_error_while_reading_is_raised_and_ends_the_readers() -> None:
    broken = Picture(
        da.map_blocks(lambda block: 1 / 0, PICTURE.data, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    )
    with pytest.raises(PixnetRuntimeError, match=r"cannot be read \(ZeroDivisionError"):
        list(over_tiles(blur, broken, make_tiles(45, 70, size=16, stride=4), (1, 4)))
