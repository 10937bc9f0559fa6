"""Pixels come out as they are, with their place; anything but RGB of a known range is refused."""

import dask.array as da
import numpy as np
import pytest
from precision import assert_close
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import build, images

IDENTITY = build.systems({"global": np.eye(3)})


def holding(data: np.ndarray, channels: str | list[str] = "rgb", **options: object) -> SpatialData:
    return build.section({"he": build.image(data, list(channels), IDENTITY, **options)}, {}, {})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3, 801, 1001)).astype(np.uint8)


def test_single_scale_is_read_lazily_as_it_is(noise: np.ndarray) -> None:
    image = images.read_image(holding(noise), "he")
    assert isinstance(image.data, da.Array)
    assert image.channels == ("r", "g", "b")
    np.testing.assert_array_equal(image.data.compute(), noise)


def test_levels_of_an_odd_pyramid_have_whole_steps(noise: np.ndarray) -> None:
    image = images.read_image(holding(noise, pyramid=True), "he")
    assert [level.grid.step for level in image.levels] == [(1.0, 1.0), (2.0, 2.0)]
    assert image.level_at(1.9) is image.levels[0]
    assert image.level_at(2.0) is image.levels[1]
    assert image.level_at(0.1) is image.levels[0]


def test_overview_is_the_block_mean_and_keeps_the_edge() -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8), (3, 10, 20))
    level = images.overview(images.read_image(holding(ramp), "he"), 4.5)
    assert level.grid.shape == (3, 5) and level.grid.step == (4.0, 4.0)
    np.testing.assert_array_equal(level.data.compute()[0, 0], [2, 6, 10, 14, 18])


def test_opaque_alpha_is_dropped_and_clear_glass_is_white() -> None:
    rgba = np.zeros((4, 2, 2), np.uint8)
    rgba[3] = [[255, 0], [51, 255]]
    rgb = images.read_rgb(holding(rgba, "rgba"), "he").data.compute()
    np.testing.assert_allclose(rgb[0], [[0.0, 1.0], [0.8, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("data", "channels", "message"),
    [
        (np.zeros((1, 4, 4), np.uint8), ["grey"], "has 1 channels"),
        (np.zeros((3, 4, 4), np.uint8), "bgr", "order r, g, b"),
        (np.zeros((3, 4, 4), np.uint16), "rgb", "black and white are unknown"),
        (np.zeros((3, 4, 4), np.float32), "rgb", "black and white are unknown"),
    ],
)
def test_what_is_not_plain_rgb_is_refused(data: np.ndarray, channels: list[str], message: str) -> None:
    with pytest.raises(PixnetValueError, match=message):
        images.read_rgb(holding(data, channels), "he")


def test_a_stated_range_is_used() -> None:
    data = np.full((3, 4, 4), 13107, np.uint16)
    rgb = images.read_rgb(holding(data), "he", (0, 65535)).data.compute()
    assert_close(rgb, np.full_like(rgb, 0.2), ulp=4)
