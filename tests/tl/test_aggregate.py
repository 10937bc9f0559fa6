"""From any raster to a table: exact, in order, whole, and with its unit."""

from pathlib import Path
from typing import Any

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import shapely
import spatialdata as sd
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from precision import assert_close
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError, PixnetWarning
from pixnet_sd._sdata import build
from pixnet_sd._sdata.provenance import get_record, set_record

IDENTITY = build.make_transformations({"global": np.eye(3)})


def table_of(sdata: SpatialData, shapes_key: str, **options: Any) -> ad.AnnData:
    return ps.tl.aggregate(sdata, shapes_key, inplace=False, **options)


def holding(raster: np.ndarray, geometries: list, index: list | None = None, **matrices: np.ndarray) -> SpatialData:
    """A raster in pixels, and polygons that may lie in another coordinate system."""
    names = [f"c{n}" for n in range(len(raster))]
    systems = build.make_transformations(
        matrices.get("shapes") is None and {"global": np.eye(3)} or {"global": matrices["shapes"]}
    )
    ids = pd.Index(index if index is not None else range(len(geometries)))
    shapes = build.make_polygons(np.array(geometries, dtype=object), ids, systems)
    return build.make_section({"raster": build.make_image(raster, names, IDENTITY), "cells": shapes}, {}, {})


RAMP = np.arange(16.0).reshape(1, 4, 4)


def test_by_hand_half_a_pixel_each_way() -> None:
    sdata = holding(RAMP, [shapely.box(0.5, 0.5, 1.5, 1.5), shapely.box(0, 0, 4, 4)])
    assert_close(table_of(sdata, "cells").X, [[2.5], [120.0]], ulp=4)  # (0 + 1 + 4 + 5) / 4, and all of it
    assert_close(table_of(sdata, "cells", statistic="mean").X, [[2.5], [7.5]], ulp=4)


def test_against_exactextract_on_cells(toy_section: SpatialData) -> None:
    cells = toy_section["cells"].geometry.affine_transform([2, 0, 0, 2, 0, 0])
    flipped = gpd.GeoDataFrame(geometry=cells.affine_transform([1, 0, 0, -1, 0, 512]), crs=3857)
    pixels = toy_section["he"].values.astype(np.float64)
    for statistic, theirs in {"sum": "sum", "mean": "mean", "max": "max", "min": "min", "std": "stdev"}.items():
        ours = table_of(toy_section, "cells", raster_key="he", statistic=statistic)
        for channel in range(3):
            raster = NumPyRasterSource(pixels[channel], 0, 0, 512, 512, srs_wkt=flipped.crs.to_wkt())
            expected = exact_extract(raster, flipped, [theirs], output="pandas")[theirs]
            assert_close(ours.X[:, channel], expected, ulp=16)


def test_programs_then_loadings_equal_genes_then_pooling(toy_section: SpatialData) -> None:
    factorised = table_of(toy_section, "cells", raster_key="truth")
    loadings = toy_section["truth_loadings"].X
    genes = np.tensordot(loadings.T, toy_section["truth"].values, axes=1)
    plain = build.make_image(genes, toy_section["truth_loadings"].var_names.tolist(), IDENTITY)
    sdata = build.make_section({"genes": plain, "cells": toy_section["cells"]}, {}, {"genes": 0.5})
    direct = table_of(sdata, "cells", raster_key="genes")
    assert_close(factorised.X, direct.X * 0.25)
    assert factorised.var_names.equals(direct.var_names)


def test_sums_are_additive_over_scales() -> None:
    sdata = ps.datasets.toy(size_px=256, bins_um=(2.0, 8.0))
    small, large = (table_of(sdata, f"bins_{size}um", raster_key="truth") for size in (2, 8))
    parent = sdata["bins_2um"][["array_row", "array_col"]].floordiv(4)
    totals = pd.DataFrame(np.asarray(small.X, float)).groupby([parent["array_row"].values, parent["array_col"].values])
    whole = totals.sum()[totals.size() == 16]
    keys = pd.MultiIndex.from_frame(sdata["bins_8um"][["array_row", "array_col"]])
    found = pd.DataFrame(large.X, index=keys).reindex(whole.index).dropna()
    assert len(found) > 50
    assert_close(found, whole.loc[found.index])


def test_units_sums_are_counts_and_means_are_densities(toy_section: SpatialData) -> None:
    sums, means = (table_of(toy_section, "spots", raster_key="truth", statistic=s) for s in ("sum", "mean"))
    area_um2 = np.pi * 27.5**2
    assert_close(sums.X, means.X * area_um2)
    assert sums.uns["pixnet_sd"]["unit"] == "counts"
    assert means.uns["pixnet_sd"]["unit"] == "counts/um2"
    np.testing.assert_allclose(sums.obsm["spatial"], toy_section["spots"].get_coordinates() * 0.5)


def test_genes_may_be_chosen(toy_section: SpatialData) -> None:
    some = table_of(toy_section, "cells", raster_key="truth", genes=["EPCAM", "COL1A1"])
    every = table_of(toy_section, "cells", raster_key="truth")
    assert_close(some.X, every[:, ["EPCAM", "COL1A1"]].X, ulp=16)
    with pytest.raises(PixnetKeyError, match="NOGENE"):
        table_of(toy_section, "cells", raster_key="truth", genes=["NOGENE"])


@pytest.mark.parametrize("index", [[7, 3, 5], ["b", "a", "c"]])
def test_every_shape_in_order_with_its_id(index: list) -> None:
    outside = shapely.box(10, 10, 12, 12)
    sdata = holding(RAMP, [shapely.box(0, 0, 2, 2), outside, shapely.box(3, 0, 5, 1)], index)
    table = table_of(sdata, "cells")
    assert table.obs["instance_id"].tolist() == index
    assert table.obs["instance_id"].dtype == sdata["cells"].index.dtype
    assert_close(table.X.ravel(), [10, np.nan, 3], ulp=4)
    np.testing.assert_allclose(table.obs["coverage"], [1, 0, 0.5])
    sdata["result"] = table
    assert sd.get_values("c0", element_name="cells", sdata=sdata, table_name="result").index.tolist() == index


def test_nan_pixels_are_left_out_of_values_and_coverage() -> None:
    raster = np.ones((2, 4, 4))
    raster[:, :, 2:] = np.nan
    sdata = holding(raster, [shapely.box(0, 0, 4, 4), shapely.box(3, 0, 4, 4)])
    table = table_of(sdata, "cells", statistic="mean")
    assert_close(table.X, [[1.0, 1.0], [np.nan, np.nan]], ulp=4)
    np.testing.assert_allclose(table.obs["coverage"], [0.5, 0])
    assert "coverage" not in table.layers


def test_channels_that_differ_in_their_nan_have_their_own_coverage() -> None:
    raster = np.ones((2, 4, 4))
    raster[1, :, 2:] = np.nan
    table = table_of(holding(raster, [shapely.box(0, 0, 4, 4)]), "cells")
    assert_close(table.X, [[16, 8]], ulp=4)
    assert_close(table.layers["coverage"], [[1, 0.5]], ulp=4)


def test_shapes_in_another_rotated_system_land_where_they_should() -> None:
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 7.0], [np.sin(angle), np.cos(angle), -2.0], [0, 0, 1.0]])
    square = shapely.box(1, 1, 3, 2)
    own = shapely.transform(square, lambda xy: (xy - turn[:2, 2]) @ np.linalg.inv(turn[:2, :2]).T)
    turned = table_of(holding(RAMP, [own], shapes=turn), "cells")
    assert_close(turned.X, table_of(holding(RAMP, [square]), "cells").X)


def test_all_shapes_outside_is_an_error_and_most_is_a_warning() -> None:
    inside, outside = shapely.box(0, 0, 1, 1), shapely.box(50, 50, 51, 51)
    with pytest.raises(PixnetValueError, match=r"0% of the shapes 'cells'.*50.0.*4 x 4"):
        table_of(holding(RAMP, [outside]), "cells")
    with pytest.warns(PixnetWarning, match="Only 33%"):
        table_of(holding(RAMP, [inside, outside, outside]), "cells")


def test_invalid_shapes_are_repaired_with_a_warning_and_empty_ones_are_nan() -> None:
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    with pytest.warns(PixnetWarning, match=r"1 invalid shapes of 'cells' were repaired, e.g. \[0\]"):
        table = table_of(holding(np.ones((1, 4, 4)), [bow_tie, shapely.Polygon()]), "cells")
    assert_close(table.X.ravel(), [2, np.nan], ulp=4)


def test_log_expression_has_a_mean_and_no_sum(toy: SpatialData) -> None:
    logged = build.make_image(
        np.ones((1, 512, 512), np.float32), ["G"], build.make_transformations({"global": np.eye(3)})
    )
    sdata = build.make_section({"log": logged, "spots": toy["spots"]}, {"log": {"kind": "map", "unit": "log1p"}}, {})
    assert table_of(sdata, "spots", raster_key="log").uns["pixnet_sd"]["statistic"] == "mean"
    with pytest.raises(PixnetValueError, match="logs do not add up"):
        table_of(sdata, "spots", raster_key="log", statistic="sum")


def test_results_are_added_and_not_replaced_unless_asked(toy: SpatialData) -> None:
    ps.tl.aggregate(toy, "cells", raster_key="truth")
    with pytest.raises(PixnetKeyError, match="overwrite=True"):
        ps.tl.aggregate(toy, "cells", raster_key="truth")
    ps.tl.aggregate(toy, "cells", raster_key="truth", overwrite=True)
    ps.tl.aggregate(toy, "cells", raster_key="he", key_added="color", statistic="median")
    assert {"cells_expression", "color"} <= set(toy.tables)


def test_unknown_names_list_what_there_is(toy_section: SpatialData) -> None:
    with pytest.raises(PixnetKeyError, match=r"there are 2: 'he', 'truth'"):
        table_of(toy_section, "cells")
    with pytest.raises(PixnetKeyError, match="'spots'"):
        table_of(toy_section, "nonsense", raster_key="he")
    with pytest.raises(PixnetValueError, match="statistic"):
        table_of(toy_section, "cells", raster_key="he", statistic="mode")


def test_backed_store_round_trip(toy: SpatialData, tmp_path: Path) -> None:
    expected = table_of(toy, "cells", raster_key="truth")
    toy.write(tmp_path / "toy.zarr")
    backed = sd.read_zarr(tmp_path / "toy.zarr")
    ps.tl.aggregate(backed, "cells", raster_key="truth")
    again = sd.read_zarr(tmp_path / "toy.zarr")
    assert_close(again["cells_expression"].X, expected.X)
    assert again["cells_expression"].uns["pixnet_sd"]["unit"] == "counts"
    assert again.attrs["pixnet_sd"]["elements"]["cells_expression"]["raster"] == "truth"


def test_a_table_names_the_model_of_its_map(toy: SpatialData) -> None:
    assert "sha256" not in table_of(toy, "cells", raster_key="truth").uns["pixnet_sd"]
    set_record(toy, "truth", {**(get_record(toy, "truth") or {}), "model": "mine", "sha256": "abc"})
    facts = table_of(toy, "cells", raster_key="truth").uns["pixnet_sd"]
    assert (facts["raster"], facts["model"], facts["sha256"]) == ("truth", "mine", "abc")


def test_scanpy_runs_on_the_table(toy_section: SpatialData) -> None:
    table = table_of(toy_section, "bins_8um", raster_key="truth")
    sc.pp.normalize_total(table, target_sum=1e4)
    sc.pp.log1p(table)
    sc.pp.pca(table, n_comps=10)
    assert np.isfinite(table.obsm["X_pca"]).all()


def test_coverage_weights_give_the_same_sums(toy_section: SpatialData) -> None:
    weights = ps.tl.coverage(toy_section, "cells", "he")
    red = toy_section["he"].values[0].ravel().astype(float)
    assert_close(weights @ red, table_of(toy_section, "cells", raster_key="he").X[:, 0], ulp=16)
    np.testing.assert_allclose(weights.sum(axis=1), toy_section["cells"].area * 4, rtol=1e-9)


def test_spatialdata_cannot_do_this_itself(toy_section: SpatialData) -> None:
    """When it can, the documentation must say so."""
    with pytest.raises(NotImplementedError):
        sd.aggregate(values=toy_section["he"], by=toy_section["cells"])


def test_a_pyramid_of_odd_size_is_read_at_its_finest_level() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 801, 1001)).astype(np.uint8)
    spots = build.make_circles(
        np.array([[3.0, 4.0], [500.5, 400.2], [1000.0, 800.0]]), 30.0, pd.RangeIndex(3), IDENTITY
    )
    plain, pyramid = (build.make_image(pixels, "rgb", IDENTITY, pyramid=levels) for levels in (False, True))
    tables = [
        table_of(build.make_section({"he": image, "spots": spots}, {}, {}), "spots", raster_key="he")
        for image in (plain, pyramid)
    ]
    np.testing.assert_array_equal(tables[0].X, tables[1].X)


def test_a_cluster_of_two_processes_gives_the_same(toy_section: SpatialData) -> None:
    distributed = pytest.importorskip("distributed")
    alone = table_of(toy_section, "cells", raster_key="truth")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        together = table_of(toy_section, "cells", raster_key="truth")
    assert_close(together.X, alone.X, ulp=16)
    np.testing.assert_allclose(together.obs["coverage"], alone.obs["coverage"], rtol=1e-12)


def test_polygons_may_have_a_column_that_is_called_radius() -> None:
    boxes = [shapely.box(0, 0, 2, 1), shapely.box(1, 1, 3, 3), None]
    plain = table_of(holding(RAMP, boxes), "cells", statistic="sum")
    section = holding(RAMP, boxes)
    section["cells"]["radius"] = [3.0, 4.0, 5.0]
    np.testing.assert_array_equal(table_of(section, "cells", statistic="sum").X, plain.X)


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
def test_the_unit_of_a_coordinate_system_changes_nothing(unit: float) -> None:
    triangle = shapely.Polygon([(0, 0), (3, 1), (1, 4)])
    crossed = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    shapes = [shapely.box(0.5, 1, 2, 3.5), triangle, crossed]
    raster = build.make_image(RAMP, ["c0"], build.make_transformations({"global": np.diag([unit, unit, 1])}))
    in_unit = shapely.transform(np.array(shapes, dtype=object), lambda xy: xy * unit)
    with pytest.warns(PixnetWarning, match="invalid"):
        expected = table_of(holding(RAMP, shapes), "cells", statistic="sum")
    with pytest.warns(PixnetWarning, match="invalid"):
        cells = build.make_polygons(in_unit, pd.RangeIndex(3), IDENTITY)
        found = table_of(build.make_section({"raster": raster, "cells": cells}, {}, {}), "cells", statistic="sum")
    np.testing.assert_allclose(found.X, expected.X, rtol=1e-12)
