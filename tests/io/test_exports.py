"""What is written for other programs is read back by other libraries, with the same values."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import shapely
import tifffile
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError
from pixnet_sd._sdata import build

TO_PIXELS = np.array([[0.0, 2.0, 1.0], [-2.0, 0.0, 40.0], [0.0, 0.0, 1.0]])
VALUES = np.array([[1.0, 2.5], [np.nan, np.nan], [0.0, 3.25]], np.float32)


def section() -> SpatialData:
    """Three circles in another system than the image's pixels, the second without values."""
    image = build.make_image(np.zeros((3, 40, 40), np.uint8), "rgb", build.make_transformations({"global": np.eye(3)}))
    index = pd.Index(["a", "b", "c"])
    moved = build.make_transformations({"global": TO_PIXELS})
    spots = build.make_circles(np.array([[3.0, 4.0], [8.0, 4.0], [3.0, 9.0]]), 1.5, index, moved)
    table = build.make_table(VALUES, pd.DataFrame(index=["G1", "G2"]), "spots", index, spatial=np.eye(3, 2))
    table.obs["area"], table.obs["kind"] = [1.0, 2.0, 3.0], pd.Categorical(["x", None, "y"])
    return SpatialData.init_from_elements({"he": image, "spots": spots, "cells": spots, "spots_expression": table})


def test_geojson_has_pixels_measurements_and_classes(tmp_path: Path) -> None:
    ps.io.to_qupath(section(), "spots", tmp_path / "spots.geojson", column="kind")
    found = gpd.read_file(tmp_path / "spots.geojson").set_crs(None, allow_override=True)
    assert found["objectType"].eq("detection").all()
    centers = np.column_stack([found.centroid.x, found.centroid.y])
    np.testing.assert_allclose(centers, [[9.0, 34.0], [9.0, 24.0], [19.0, 34.0]], rtol=1e-6)
    np.testing.assert_allclose(found.area, np.pi * 3**2, rtol=2e-3)
    features = json.loads((tmp_path / "spots.geojson").read_text())["features"]
    properties = [feature["properties"] for feature in features]
    assert [one["measurements"] for one in properties] == [
        {"G1": 1.0, "G2": 2.5, "area": 1.0},
        {"area": 2.0},
        {"G1": 0.0, "G2": 3.25, "area": 3.0},
    ]
    assert [one.get("classification") for one in properties] == [{"name": "x"}, None, {"name": "y"}]
    again = ps.io.outlines(tmp_path / "spots.geojson", unit="px")
    assert list(again.index) == ["a", "b", "c"]


def test_polygons_come_back_as_they_were(tmp_path: Path) -> None:
    sdata = section()
    holed = shapely.Polygon([(1, 1), (9, 1.25), (9, 7), (1, 7)], [[(3, 3), (3, 5), (5, 5)]])
    parts = shapely.MultiPolygon([shapely.box(20, 20, 22, 22), shapely.box(30.1, 30.2, 31, 31)])
    polygons = np.array([holed, parts, shapely.Polygon()], object)
    systems = build.make_transformations({"global": np.eye(3)})
    sdata["cells"] = build.make_polygons(
        polygons, pd.Index([7, 3, 5]), systems, kind=np.array(["x", None, "y"], object)
    )
    ps.io.to_qupath(sdata, "cells", tmp_path / "cells.geojson", column="kind")
    again = ps.io.outlines(tmp_path / "cells.geojson", unit="px")
    assert list(again.index) == [7, 3]
    assert list(again["class"]) == ["x", None]
    assert shapely.equals(again.geometry.to_numpy(), polygons[:2]).all()


def test_an_image_in_color_is_one_page_with_levels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 1100, 530), dtype=np.uint8)
    image = build.make_image(pixels, "rgb", build.make_transformations({"global": np.eye(3)}), pyramid=True)
    sdata = build.make_section({"he": image}, {}, {"he": 0.5})
    ps.io.to_ome_tiff(sdata, "he", tmp_path / "he.ome.tif")
    with tifffile.TiffFile(tmp_path / "he.ome.tif") as file:
        assert file.is_ome
        levels = [level.asarray() for level in file.series[0].levels]
    assert np.array_equal(levels[0], np.moveaxis(pixels, 0, 2))
    assert [level.shape for level in levels] == [(1100, 530, 3), (550, 265, 3), (275, 132, 3)]
    means = levels[0].reshape(550, 2, 265, 2, 3).mean(axis=(1, 3))
    assert np.abs(levels[1] - means).max() <= 0.5
    assert ps.pp.mpp(ps.io.slide(tmp_path / "he.ome.tif")) == 0.5


def test_genes_are_named_planes_and_nan_stays(tmp_path: Path) -> None:
    programs = np.random.default_rng(0).random((2, 530, 300), dtype=np.float32)
    programs[:, :100, :101] = np.nan
    matrix = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]], np.float32)
    loadings = build.make_loadings(matrix, ["p0", "p1"], pd.DataFrame(index=["A", "B<&", "µ"]), "m_programs")
    image = build.make_image(programs, ["p0", "p1"], build.make_transformations({"global": np.eye(3)}))
    facts = {"m_programs": {"kind": "programs", "unit": "counts/um2", "mpp": 2.0}}
    sdata = build.make_section({"m_programs": image, "m_programs_loadings": loadings}, facts, {"m_programs": 2.0})
    ps.io.to_ome_tiff(sdata, "m_programs", tmp_path / "m.ome.tif", genes=["µ", "B<&"])
    with tifffile.TiffFile(tmp_path / "m.ome.tif") as file:
        described, levels = tifffile.xml2dict(str(file.ome_metadata)), [one.asarray() for one in file.series[0].levels]
    pixels: Any = described["OME"]["Image"]["Pixels"]
    assert [channel["Name"] for channel in pixels["Channel"]] == ["µ", "B<&"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (2.0, "µm")
    np.testing.assert_allclose(levels[0], np.tensordot(matrix[:, [2, 1]].T, programs, axes=(1, 0)), rtol=1e-6)
    assert np.isnan(levels[1][:, :50, :50]).all()
    np.testing.assert_allclose(levels[1][:, :50, 50], levels[0][:, :100, 101].reshape(2, 50, 2).mean(axis=2), rtol=1e-6)


def test_the_folder_of_10x_is_read_by_scanpy(tmp_path: Path) -> None:
    sdata = section()
    sdata["spots_expression"].var["gene_ids"] = ["ENSG1", "ENSG2"]
    ps.io.to_10x(sdata, "spots_expression", tmp_path / "spots")
    found = sc.read_10x_mtx(tmp_path / "spots")
    assert (list(found.obs_names), list(found.var_names)) == (["a", "c"], ["G1", "G2"])
    assert list(found.var["gene_ids"]) == ["ENSG1", "ENSG2"]
    assert np.array_equal(found.X.toarray(), VALUES[[0, 2]])
    places = pd.read_csv(tmp_path / "spots" / "coordinates.csv", index_col="barcode")
    assert places.loc["a", ["x", "y", "area", "kind"]].to_list() == [1.0, 0.0, 1.0, "x"]


def test_the_same_section_gives_the_same_bytes_and_nothing_is_replaced(tmp_path: Path) -> None:
    for write, key, name in (
        (ps.io.to_qupath, "spots", "s.geojson"),
        (ps.io.to_ome_tiff, "he", "s.ome.tif"),
        (ps.io.to_10x, "spots_expression", "s"),
    ):
        write(section(), key, tmp_path / name)
        with pytest.raises(PixnetError, match=r"exists\. Pass overwrite=True"):
            write(section(), key, tmp_path / name)
        write(section(), key, tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s.geojson", "s.ome.tif"]
    ps.io.to_qupath(section(), "spots", tmp_path / "t.geojson")
    assert (tmp_path / "t.geojson").read_bytes() == (tmp_path / "s.geojson").read_bytes()


@pytest.mark.parametrize(
    ("name", "key", "path", "options", "words"),
    [
        ("to_qupath", "spots", "s.csv", {}, "must end in .geojson"),
        ("to_qupath", "spots", "no/s.geojson", {}, "There is no folder"),
        ("to_qupath", "spot", "s.geojson", {}, "Did you mean 'spots'"),
        ("to_qupath", "spots", "s.geojson", {"genes": ["G3"]}, "G3"),
        ("to_qupath", "spots", "s.geojson", {"genes": "G1"}, "pass a list"),
        ("to_qupath", "spots", "s.geojson", {"column": "leiden"}, "'leiden' is not in obs"),
        ("to_qupath", "spots", "s.geojson", {"table_key": "t"}, "is not among the tables"),
        ("to_qupath", "cells", "s.geojson", {"genes": ["G1"]}, "no table 'cells_expression' with genes"),
        ("to_ome_tiff", "he", "s.tif", {}, "must end in .ome.tif"),
        ("to_ome_tiff", "hes", "s.ome.tif", {}, "is not among the images"),
        ("to_ome_tiff", "he", "s.ome.tif", {"genes": ["G1"]}, "G1"),
        ("to_10x", "spots", "s", {}, "is not among the tables"),
        ("to_10x", "spots_expression", "s", {"layer": "x"}, "layer='x' is not in table"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, key: str, path: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(PixnetError, match=words):
        getattr(ps.io, name)(section(), key, tmp_path / path, **options)
    assert not list(tmp_path.iterdir())
