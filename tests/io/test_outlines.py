"""`io.outlines` reads what each program writes, to the same places."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import affine

SQUARE, TRIANGLE = [[10, 20], [14, 20], [14, 25], [10, 25], [10, 20]], [[0, 0], [6, 0], [0, 6], [0, 0]]
EXPECTED = [shapely.Polygon(SQUARE), shapely.Polygon(TRIANGLE)]


def feature(ring: list, **members: Any) -> dict:
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}, **members}


def classified(name: str) -> dict:
    return {"objectType": "cell", "classification": {"name": name, "color": [200, 0, 0]}}


QUPATH = [
    feature(SQUARE, id="6a9f", properties=classified("Tumor")),
    feature(TRIANGLE, id="77b0", properties={"objectType": "cell"}),
]
RANGER = [feature(SQUARE, id=3, properties={"cell_id": 11}), feature(TRIANGLE, id=4, properties={"cell_id": 12})]
LAZYSLIDE = [
    feature(ring, properties={"id": i, "classification": name})
    for i, (ring, name) in enumerate([(SQUARE, "a"), (TRIANGLE, "b")])
]


def collection(features: list) -> dict:
    return {"type": "FeatureCollection", "features": features}


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "ids", "classes"),
    [
        (collection(QUPATH), ["6a9f", "77b0"], ["Tumor", None]),
        (QUPATH, ["6a9f", "77b0"], ["Tumor", None]),
        (collection(RANGER), [11, 12], None),
        (collection(LAZYSLIDE), [0, 1], ["a", "b"]),
        (collection([feature(SQUARE), feature(TRIANGLE)]), [0, 1], None),
        (collection([feature(SQUARE, id="x"), feature(TRIANGLE, id="x")]), [0, 1], None),
        (collection([feature(SQUARE, id="x"), feature(TRIANGLE, id=1)]), [0, 1], None),
    ],
)
def test_geojson_of_each_dialect(tmp_path: Path, content: Any, ids: list, classes: list | None) -> None:
    found = ps.io.outlines(written(tmp_path / "cells.geojson", content), unit="px")
    assert found.index.tolist() == ids
    assert list(found.geometry) == EXPECTED
    assert (found["class"].tolist() if "class" in found else None) == classes


def test_a_single_feature_and_parts(tmp_path: Path) -> None:
    parts = {"type": "MultiPolygon", "coordinates": [[SQUARE], [TRIANGLE]]}
    found = ps.io.outlines(written(tmp_path / "one.json", feature(SQUARE) | {"geometry": parts}), unit="px")
    assert list(found.geometry) == [shapely.MultiPolygon(EXPECTED)]


def test_outlines_of_cellpose(tmp_path: Path) -> None:
    lines = "\n".join(",".join(str(number) for point in ring[:-1] for number in point) for ring in (SQUARE, TRIANGLE))
    found = ps.io.outlines(written(tmp_path / "he_cp_outlines.txt", lines + "\n"), unit="px")
    assert list(found.geometry) == EXPECTED


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_boundaries_of_xenium(tmp_path: Path, ending: str) -> None:
    rows = [(cell, *point) for cell, ring in (("aaab-1", SQUARE), ("aaac-1", TRIANGLE)) for point in ring]
    table, path = pd.DataFrame(rows, columns=["cell_id", "vertex_x", "vertex_y"]), tmp_path / f"cell_boundaries{ending}"
    table.to_parquet(path) if ending == ".parquet" else table.to_csv(path, index=False)
    found = ps.io.outlines(path, unit="um", mpp=0.5)
    assert found.index.tolist() == ["aaab-1", "aaac-1"]
    assert list(found.geometry) == EXPECTED


@pytest.mark.parametrize(
    ("unit", "scales"), [("px", {"global": 1, "micrometers": 0.25}), ("um", {"global": 4, "micrometers": 1})]
)
def test_units_place_outlines_on_the_image(tmp_path: Path, unit: Any, scales: dict[str, float]) -> None:
    found = ps.io.outlines(written(tmp_path / "cells.geojson", QUPATH), unit=unit, mpp=0.25)
    systems = affine.get_transformations(found)
    assert {name: affine.to_matrix(one)[0, 0] for name, one in systems.items()} == scales


def test_outlines_go_onto_an_image(tmp_path: Path) -> None:
    sdata = ps.datasets.toy(size_px=256)
    sdata["drawn"] = ps.io.outlines(written(tmp_path / "cells.geojson", QUPATH), unit="px")
    table = ps.tl.aggregate(sdata, "drawn", raster_key="truth", inplace=False)
    np.testing.assert_array_equal(table.obs["coverage"], 1)


def test_outlines_that_cross_themselves_are_repaired(tmp_path: Path) -> None:
    bow = feature([[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]])
    found = ps.io.outlines(written(tmp_path / "cells.geojson", collection([bow, feature(SQUARE)])), unit="px")
    assert found.geometry.is_valid.all()
    assert found.geometry.area.tolist() == [8, 20]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cells.geojson", "{", "is no JSON"),
        ("cells.geojson", {"type": "FeatureCollection", "features": [1]}, "no GeoJSON of features"),
        ("cells.geojson", collection([]), "no outlines"),
        ("cells.geojson", [feature(SQUARE) | {"geometry": {"type": "Point", "coordinates": [1, 2]}}], "is a Point"),
        ("cells.geojson", [feature(SQUARE) | {"geometry": None}], "no geometry that can be read"),
        ("cells.geojson", [feature([[0, 0], [1, 1]])], "no geometry that can be read"),
        (
            "cells.geojson",
            '[{"geometry": {"type": "Polygon", "coordinates": [[[0,0],[1,NaN],[1,0],[0,0]]]}}]',
            "finite",
        ),
        ("he_cp_outlines.txt", "1,2,3\n", "Cellpose"),
        ("cells.csv", "cell_id,x,y\n1,2,3\n", "lacks the columns"),
        ("cells.svg", "", "of no known kind"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, name: str, content: Any, said: str) -> None:
    with pytest.raises(PixnetValueError, match=said):
        ps.io.outlines(written(tmp_path / name, content), unit="px")


def test_units_must_be_stated(tmp_path: Path) -> None:
    path = written(tmp_path / "cells.geojson", QUPATH)
    with pytest.raises(PixnetValueError, match="must be"):
        ps.io.outlines(path, unit="mm")  # type: ignore[arg-type]
    with pytest.raises(PixnetValueError, match="pass mpp"):
        ps.io.outlines(path, unit="um")
    with pytest.raises(PixnetValueError, match="positive"):
        ps.io.outlines(path, unit="px", mpp=0)
    with pytest.raises(PixnetValueError, match="not a file"):
        ps.io.outlines(tmp_path / "absent.geojson", unit="px")
