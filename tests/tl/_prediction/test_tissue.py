"""Glass is not tissue: what is off the tissue has no value and costs nothing, and nothing else is cut."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import spatialdata as sd
import tiny
from files import digests
from hardening.slides import GLOBAL, picture, section
from precision import assert_close
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError, PixnetWarning
from pixnet_sd._raster.tissue import glass_is_lighter
from pixnet_sd._sdata import build
from pixnet_sd._sdata.masks import Tissue
from pixnet_sd.nn.model.model import Model
from pixnet_sd.tl._prediction import dask, options
from pixnet_sd.tl._prediction.plan import make_plan
from pixnet_sd.tl._prediction.writer import MapWriter

GENES = ["EPCAM", "VIM", "CD3E"]
SIDE, GLASS = 256, 240
HOW: dict[str, Any] = {"device": "cpu", "tile_size": 64, "progress": False}


def model(seed: int = 0) -> Model:
    return tiny.model(GENES, seed)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Synthetic tissue on the left, and as much glass beside it."""
    toy = ps.datasets.toy(size_px=SIDE)["he"].values
    return np.concatenate([toy, np.full_like(toy, GLASS)], axis=2)


@pytest.fixture
def slide(pixels: np.ndarray) -> SpatialData:
    return section(he=picture(pixels))


def add_spots(slide: SpatialData, x: float) -> SpatialData:
    """Add measured spots in a column."""
    spots = build.make_circles(np.array([[x, y] for y in (40.0, 120.0, 200.0)]), 20.0, pd.RangeIndex(3), GLOBAL)
    slide["spots"] = spots
    slide["counts"] = build.make_table(np.ones((3, 1)), pd.DataFrame(index=["VIM"]), "spots", spots.index)
    return slide


def predicted(slide: SpatialData, **how: Any) -> np.ndarray:
    ps.tl.predict(slide, "he", **{"model": model(), **HOW, **how})
    return np.asarray(slide["he_programs"].values)


def test_the_tissue_that_is_found_is_that_of_pp_tissue(slide: SpatialData, pixels: np.ndarray) -> None:
    marked = section(he=picture(pixels))
    ps.pp.tissue(marked)
    found = predicted(slide)
    np.testing.assert_array_equal(found, predicted(marked))
    assert "he_tissue" not in slide.labels
    on = np.isfinite(found[0])
    assert on[:, : SIDE // 8].all()
    assert not on[:, SIDE // 4 + 16 :].any()
    assert_close(found[:, on], predicted(section(he=picture(pixels)), tissue_key=None)[:, on])


def test_tiles_of_glass_are_not_computed_and_the_log_counts_them(
    slide: SpatialData, caplog: pytest.LogCaptureFixture
) -> None:
    own, runs = model(), list[int]()
    own.network.register_forward_hook(lambda *_: runs.append(1))
    predicted(slide, model=own)
    holding = int(np.isfinite(slide["he_programs"].values[0]).reshape(4, 16, 8, 16).any(axis=(1, 3)).sum())
    assert len(runs) == holding < 32
    assert "tissue found on 'he'" in caplog.text
    assert f"{holding} of 32 tiles hold tissue" in caplog.text


def test_tissue_can_be_refused(slide: SpatialData, caplog: pytest.LogCaptureFixture) -> None:
    assert np.isfinite(predicted(slide, tissue_key=None)).all()
    assert "tissue_key=None: all of 'he' is predicted, glass too" in caplog.text
    assert "tiles hold tissue" not in caplog.text


def test_where_all_is_tissue_nothing_is_cut_and_the_map_is_the_same(toy_section: SpatialData) -> None:
    first, second = (section(he=toy_section["he"]) for _ in range(2))
    np.testing.assert_array_equal(predicted(first), predicted(second, tissue_key=None))
    ps.pp.tissue(first)
    ps.tl.predict(first, "he", model=model(), exist_ok=True, **HOW)


@pytest.mark.parametrize("case", ["noise", "spots on glass"])
def test_what_cannot_be_relied_on_cuts_nothing(case: str, pixels: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    slide = section() if case == "noise" else add_spots(section(he=picture(pixels)), x=1.7 * SIDE)
    assert np.isfinite(predicted(slide)).all()
    told = {"noise": "too dark for glass", "spots on glass": "only 0% of the 3 measured shapes lie on it"}[case]
    assert told in caplog.text
    assert "tissue_key=None" in caplog.text


def test_measured_spots_on_the_tissue_change_nothing(slide: SpatialData, pixels: np.ndarray) -> None:
    measured = add_spots(section(he=picture(pixels)), x=SIDE / 2)
    np.testing.assert_array_equal(predicted(slide), predicted(measured))


@pytest.mark.parametrize(
    ("off", "on", "lighter"),
    [(240, 120, True), (128, 100, True), (100, 128, False), (5, 100, True), (240, None, True), (127, None, False)],
)
def test_glass_is_lighter_than_tissue_and_padding_says_nothing(off: int, on: int | None, lighter: bool) -> None:
    image = np.full((3, 4, 4), off, np.uint8)
    mask = np.zeros((4, 4), bool)
    if on is not None:
        image[:, 2:], mask[2:] = on, True
    assert glass_is_lighter(image, mask) == lighter


def test_tables_straight_from_the_image_are_those_of_the_map(slide: SpatialData) -> None:
    add_spots(slide, x=SIDE / 2)
    ps.pp.bins(slide, 16.0, image_key="he")
    predicted(slide)
    ps.tl.aggregate(slide, "bins_16um", progress=False)
    ps.tl.predict_shapes(slide, "bins_16um", model=model(), image_key="he", key_added="straight", **HOW)
    assert_close(slide["straight"].X, slide["bins_16um_expression"].X)
    assert np.isnan(slide["straight"].X).any()
    np.testing.assert_allclose(slide["straight"].obs["coverage"], slide["bins_16um_expression"].obs["coverage"])


def test_a_prediction_that_is_resumed_is_of_the_same_tissue(slide: SpatialData, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.zarr", tmp_path / "s.zarr"
    slide.write(whole)
    shutil.copytree(whole, path)
    predicted(sd.read_zarr(whole))
    stopped, runs = model(), list[int]()

    def stop(*_: object) -> None:
        runs.append(1)
        if len(runs) > 5:
            raise KeyboardInterrupt

    stopped.network.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        predicted(sd.read_zarr(path), model=stopped)
    with pytest.raises(PixnetError, match=r"cannot be resumed.*tissue_digest"):
        predicted(sd.read_zarr(path), tissue_key=None)
    predicted(sd.read_zarr(path))
    assert digests(path) == digests(whole)


def test_all_shards_and_workers_take_the_tissue_that_the_first_one_found(
    slide: SpatialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another processor might find another pixel of it, and the labels are in no store."""
    path, whole = tmp_path / "s.zarr", tmp_path / "whole.zarr"
    slide.write(path)
    shutil.copytree(path, whole)
    predicted(sd.read_zarr(whole))
    how = {"model": model(), "shards": 2, **HOW}
    ps.tl.predict_shard(sd.read_zarr(path), "he", number=1, **how)
    other = add_spots(sd.read_zarr(path), x=1.7 * SIDE)  # by which nothing would be cut
    ps.tl.predict_shard(other, "he", number=2, **how)
    ps.tl.finish(other)
    assert digests(path) == digests(whole)


def test_a_worker_reads_the_tissue_beside_the_request(slide: SpatialData, tmp_path: Path) -> None:
    path, folder = tmp_path / "s.zarr", tmp_path / "request"
    slide.write(path)
    folder.mkdir()
    writer = MapWriter(slide, make_plan(slide, model(), options.PredictOptions(device="cpu", tile_size=64)))
    assert dask.needed_elements(writer.plan) == {"he"}
    assert isinstance(writer.plan.tissue, Tissue)
    options.write_options(folder, writer.plan.options, writer.plan.model, writer.plan.tissue)
    add_spots(slide, x=1.7 * SIDE)
    asked, own, tissue = options.read_options(folder)
    assert make_plan(slide, own, asked, tissue).identity == writer.plan.identity


def test_glass_alone_is_a_valid_result_with_a_warning_that_says_what_to_do() -> None:
    slide = section(he=picture(np.full((3, 128, 128), GLASS, np.uint8)))
    with pytest.warns(PixnetWarning, match=r"no tissue on image 'he'.*sensitivity=2.*tissue_key=None"):
        assert np.isnan(predicted(slide)).all()


@pytest.mark.parametrize("rim", [0, 2])
def test_the_log_says_where_tissue_may_have_been_cut(
    rim: int, toy_section: SpatialData, caplog: pytest.LogCaptureFixture
) -> None:
    slide = section(he=toy_section["he"])
    mask = ps.pp.tissue(slide, inplace=False)
    mask[:] = np.pad(np.ones((32 - 2 * rim,) * 2, np.uint8), rim)
    slide["he_tissue"] = mask
    predicted(slide)
    assert ("tissue reaches the edge of 'he'" in caplog.text) == (rim == 0)
