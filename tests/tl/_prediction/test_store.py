"""A prediction that is resumed is one of the image as it is now, whatever was done before."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
import zarr
from hardening.slides import picture, predict, section, tiny_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pixnet_sd as ps
from pixnet_sd._errors import PixnetRuntimeError, PixnetWarning
from pixnet_sd._sdata.storage import growing as stream
from pixnet_sd._sdata.storage import publish
from pixnet_sd.tl._prediction.options import PredictOptions
from pixnet_sd.tl._prediction.plan import make_plan
from pixnet_sd.tl._prediction.tiles import missing_tiles
from pixnet_sd.tl._prediction.writer import MapWriter

SIDE, TILE, DONE = 192, 64, 5
PIXELS = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE)).astype(np.uint8)


def scan(path: Path) -> zarr.Array:
    """The finest pixels of the image in a store, to be changed behind everyone's back."""
    return zarr.open_array(next((path / "images" / "he").glob("*/zarr.json")).parent, mode="r+")


def stopping(after: int) -> Any:
    """A model that stands for Ctrl-C once it has seen so many tiles."""
    model, runs = tiny_model(), itertools.count()

    def stop(*_: object) -> None:
        if next(runs) >= after:
            raise KeyboardInterrupt

    model.network.register_forward_hook(stop)
    return model


def interrupted(path: Path) -> Path:
    section(he=picture(PIXELS)).write(path)
    with pytest.raises(KeyboardInterrupt):
        predict(sd.read_zarr(path), "he", model=stopping(DONE))
    return path


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return interrupted(tmp_path_factory.mktemp("waiting") / "s.zarr")


def wanted(path: Path) -> tuple[MapWriter, set[int]]:
    """What a call would compute."""
    sdata, options = sd.read_zarr(path), PredictOptions(image_key="he", device="cpu", tile_size=TILE)
    writer = MapWriter(sdata, make_plan(sdata, tiny_model(), options))
    identity = writer.plan.identity
    with stream.open_partial(sdata, writer.names.programs, writer.blank, identity, resume=True) as growing:
        return writer, set(missing_tiles(writer.plan, growing))


def shard(path: Path) -> int:
    options: dict[str, Any] = {"device": "cpu", "tile_size": TILE, "progress": False}
    return ps.tl.predict_shard(sd.read_zarr(path), "he", number=1, shards=1, model=tiny_model(), **options)


def expected(pixels: np.ndarray) -> np.ndarray:
    sdata = section(he=picture(pixels))
    predict(sdata, "he")
    return sdata["he_programs"].values


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.tuples(st.integers(0, 2), st.integers(0, SIDE - 1), st.integers(0, SIDE - 1)),
    size=st.integers(1, 40),
    change=st.integers(1, 254),
)
def test_any_change_of_pixels_that_a_finished_tile_was_made_from_is_noticed(
    waiting: Path, place: tuple[int, int, int], size: int, change: int
) -> None:
    """And no other tile is computed again."""
    array, (channel, y, x) = scan(waiting), place
    before = np.asarray(array[channel, y : y + size, x : x + size])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixnetWarning)
        writer, missing = wanted(waiting)
        array[channel, y : y + size, x : x + size] = before + np.uint8(change)
        try:
            _, found = wanted(waiting)
        finally:
            array[channel, y : y + size, x : x + size] = before
    reads = {number: tile.read for number, tile in enumerate(writer.plan.tiles)}
    end = min(y + size, SIDE), min(x + size, SIDE)
    touched = {n for n, read in reads.items() if read.y0 < end[0] and y < read.y1 and read.x0 < end[1] and x < read.x1}
    assert found == missing | touched


def test_a_map_that_is_resumed_over_another_image_is_that_of_the_other_image(tmp_path: Path) -> None:
    """The corners stay, so no few tiles tell the two images apart."""
    path, other = interrupted(tmp_path / "s.zarr"), PIXELS.copy()
    other[:, 40:60, 40:150] = 255 - other[:, 40:60, 40:150]
    scan(path)[:] = other
    sdata = sd.read_zarr(path)
    with pytest.warns(PixnetWarning, match=r"'he' has changed under \d of the \d tiles that were done"):
        predict(sdata, "he")
    np.testing.assert_array_equal(sd.read_zarr(path)["he_programs"].values, expected(other))


def test_an_image_that_is_as_it_was_is_resumed_with_the_same_bytes_and_without_a_word(tmp_path: Path) -> None:
    path = interrupted(tmp_path / "s.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PixnetWarning)
        predict(sd.read_zarr(path), "he")
    np.testing.assert_array_equal(sd.read_zarr(path)["he_programs"].values, expected(PIXELS))


def test_shards_of_different_images_are_not_put_together(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    section(he=picture(PIXELS)).write(path)
    shard(path)
    scan(path)[:, 100:110, 100:110] = 0
    with (
        pytest.warns(PixnetWarning, match="changed under"),
        pytest.raises(PixnetRuntimeError, match=r"of 9 tiles of 'he_programs' are missing, of shards 1/1"),
    ):
        ps.tl.finish(sd.read_zarr(path))
    with pytest.warns(PixnetWarning, match="changed under"):
        shard(path)
    ps.tl.finish(sd.read_zarr(path))
    np.testing.assert_array_equal(sd.read_zarr(path)["he_programs"].values, expected(np.asarray(scan(path))))


def test_a_map_that_is_complete_is_not_published_for_another_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zarr"
    section(he=picture(PIXELS)).write(path)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publish, "publish_map", stop)
        predict(sd.read_zarr(path), "he")
    scan(path)[:, 5, 5] = 0
    with pytest.raises(PixnetRuntimeError, match=r"changed under 4 of its 9 tiles since.*resume=False, overwrite=True"):
        predict(sd.read_zarr(path), "he")
    predict(sd.read_zarr(path), "he", resume=False, overwrite=True)
    np.testing.assert_array_equal(sd.read_zarr(path)["he_programs"].values, expected(np.asarray(scan(path))))
