"""Labels are aggregated as they are: every pixel of a label counts with its area, and with nothing else."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import spatialdata as sd
from hardening.slides import section, tiny_model
from precision import assert_close
from spatialdata import SpatialData
from spatialdata.models import Labels2DModel
from spatialdata.transformations import Affine, Scale

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._sdata import affine, build
from pixnet_sd._zonal.runs import find_runs

SIDE, CHANNELS = 24, 3
IDS = np.array([7, 300, 41, 2])


def raster(side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(CHANNELS, side, side))


def label_pixels(side: int, dtype: Any = np.int32) -> np.ndarray:
    """Objects in many pieces, with holes, touching one another and the edge."""
    return np.random.default_rng(2).choice([0, 0, *IDS], size=(side, side)).astype(dtype)


def slide(labels: np.ndarray, to_raster: Any, chunks: tuple[int, int] = (7, 5), **options: Any) -> SpatialData:
    element = Labels2DModel.parse(
        labels, dims=("y", "x"), transformations={"global": to_raster}, chunks=chunks, **options
    )
    picture = build.make_image(raster(), list("abc"), build.make_transformations({"global": np.eye(3)}))
    return section(he=picture, mpp=None, cells=element)


def sums(sdata: SpatialData, **options: Any) -> Any:
    return ps.tl.aggregate(sdata, "cells", raster_key="he", inplace=False, progress=False, **options)


def zoom(times: float) -> Scale:
    return Scale([times, times], axes=("x", "y"))


def pixel_sums(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([values[:, labels == number].sum(axis=1) for number in np.sort(IDS)])


def test_on_the_pixels_of_the_raster_sums_are_those_of_the_pixels_and_ids_are_kept() -> None:
    labels = label_pixels(SIDE)
    table = sums(slide(labels, zoom(1)))
    assert_close(table.X, pixel_sums(labels, raster()))
    assert table.obs["instance_id"].tolist() == sorted(IDS)
    assert set(table.obs["region"]) == {"cells"}
    assert_close(table.obs["area_px"], [(labels == number).sum() for number in np.sort(IDS)])


@pytest.mark.parametrize("times", [2, 4])
def test_finer_labels_count_with_the_area_of_their_pixels(times: int) -> None:
    labels = label_pixels(SIDE * times)
    values = raster().repeat(times, axis=1).repeat(times, axis=2) / times**2
    assert_close(sums(slide(labels, zoom(1 / times))).X, pixel_sums(labels, values))


def test_coarser_labels_that_straddle_pixels_are_exact() -> None:
    """Pixels of 1.5: both fit into a lattice of halves."""
    labels = label_pixels(16)
    values = raster().repeat(2, axis=1).repeat(2, axis=2) / 4
    assert_close(sums(slide(labels, zoom(1.5))).X, pixel_sums(labels.repeat(3, 0).repeat(3, 1), values))


def test_turned_labels_are_as_the_unions_of_their_pixels() -> None:
    angle = np.deg2rad(30)
    turn = [[np.cos(angle), -np.sin(angle), 9], [np.sin(angle), np.cos(angle), 2], [0, 0, 1]]
    labels = np.zeros((12, 12), np.int16)
    labels[2:5, 1:9], labels[5:9, 4:7], labels[9:11, 9:11] = 5, 5, 6
    sdata = slide(labels, Affine(turn, input_axes=("x", "y"), output_axes=("x", "y")))
    pixels = [shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(labels == n)]) for n in (5, 6)]
    sdata["outlines"] = build.make_polygons(
        np.array(pixels), pd.Index([5, 6]), affine.get_transformations(sdata["cells"])
    )
    expected = ps.tl.aggregate(sdata, "outlines", raster_key="he", inplace=False, progress=False)
    assert_close(sums(sdata).X, expected.X)
    np.testing.assert_allclose(sums(sdata).obsm["spatial"], expected.obsm["spatial"])


@pytest.mark.parametrize("statistic", ["mean", "max", "std", "median"])
def test_other_statistics_are_of_the_same_pixels(statistic: str) -> None:
    labels = label_pixels(SIDE)
    expected = [getattr(np, statistic)(raster()[:, labels == number], axis=1) for number in np.sort(IDS)]
    np.testing.assert_allclose(sums(slide(labels, zoom(1)), statistic=statistic).X, expected, atol=0.2)
    if statistic != "median":  # that of ours is weighted, between two values
        assert_close(sums(slide(labels, zoom(1)), statistic=statistic).X, np.array(expected))


def test_chunks_pyramids_and_kinds_of_integers_change_nothing() -> None:
    labels = label_pixels(SIDE)
    expected = sums(slide(labels, zoom(1))).X
    for changed in (
        slide(labels, zoom(1), (24, 24)),
        slide(labels.astype(np.uint16), zoom(1), scale_factors=[2]),
        slide(labels.astype(np.int64), zoom(1)),
    ):
        assert_close(sums(changed).X, expected)


def test_runs_are_the_pixels() -> None:
    labels = label_pixels(9)
    found = np.zeros_like(labels)
    for number, row, first, after in find_runs(labels, (2, 3)):
        found[row - 2, first - 3 : after - 3] = number
    np.testing.assert_array_equal(found, labels)


def test_a_table_of_labels_is_added_written_and_read(tmp_path: Any) -> None:
    sdata = slide(label_pixels(SIDE), zoom(1))
    ps.tl.aggregate(sdata, "cells", raster_key="he", progress=False)
    sdata.write(tmp_path / "s.zarr")
    again = sd.read_zarr(tmp_path / "s.zarr")
    assert_close(again["cells_expression"].X, sdata["cells_expression"].X)
    np.testing.assert_array_equal(np.asarray(sums(again).X), again["cells_expression"].X)
    instances = sd.get_element_instances(again["cells"]).tolist()
    assert [number for number in instances if number] == again["cells_expression"].obs["instance_id"].tolist()


def test_labels_without_objects_and_names_that_are_not_there_are_errors() -> None:
    sdata = slide(np.zeros((4, 4), np.int32), zoom(1))
    with pytest.raises(PixnetValueError, match="Labels 'cells' hold no object: all of their 16 pixels are 0"):
        sums(sdata)
    with pytest.raises(PixnetKeyError, match="'nuclei' is not among the shapes and labels: 'cells'"):
        ps.tl.aggregate(sdata, "nuclei", raster_key="he")


def test_rows_without_a_value_are_counted_with_the_line_that_drops_them(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[:4, :4], labels[4:8, 4:8], labels[8:12, 8:12] = 1, 2, 3
    sdata, values = slide(labels, zoom(1)), raster()
    values[:, :4, :4] = np.nan
    picture = build.make_image(values, list("abc"), build.make_transformations({"global": np.eye(3)}))
    adata = sums(section(he=picture, mpp=None, cells=sdata["cells"]))
    assert "1 of the 3 'cells' have no value" in caplog.text
    assert np.isnan(adata.X[0]).all()
    recipe = caplog.text.split("does not take: ")[1].splitlines()[0]
    namespace = {"adata": adata}
    exec(recipe, namespace)
    assert np.isfinite(namespace["adata"].X).all()
    assert namespace["adata"].n_obs == 2


def test_predict_shapes_takes_labels(toy_section: SpatialData) -> None:
    labels = np.kron(np.arange(1, 17, dtype=np.int32).reshape(4, 4), np.ones((128, 128), np.int32))
    element = Labels2DModel.parse(labels, dims=("y", "x"), transformations={"global": Scale([1, 1], ("x", "y"))})
    sdata = section(he=toy_section["he"], grid=element)
    how: dict[str, Any] = {"model": tiny_model(), "device": "cpu", "progress": False}
    ps.tl.predict_shapes(sdata, "grid", **how)
    ps.tl.predict(sdata, "he", **how)
    values = sdata["he_programs"].values
    pooled = values.reshape(len(values), 4, 32, 4, 32).sum(axis=(2, 4)).reshape(len(values), 16).T * 4
    assert_close(sdata["grid_expression"].X, pooled @ tiny_model().loadings)
