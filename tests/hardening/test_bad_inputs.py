"""Every bad input has its outcome, and every refusal says what was asked, what was found and what to do."""

import ast
import importlib.util
import re
import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import shapely
import spatialdata as sd
from hardening.rows import ROWS, Refusal
from hardening.slides import GLOBAL, aggregate, picture, pixels, predict, section, squares
from precision import assert_close
from spatialdata.models import Image2DModel

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError, PixnetWarning

TESTS = Path(__file__).parents[1]
REFUSALS = [pytest.param(one, id=f"{row.given}: {one.what}") for row in ROWS for one in row.refused]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_a_bad_input_is_refused_in_words_that_help(refusal: Refusal) -> None:
    with pytest.raises(PixnetError) as caught:
        refusal.call()
    assert isinstance(caught.value, refusal.error)
    for expression in refusal.says:
        assert re.search(expression, str(caught.value)), f"{expression!r} is not in: {caught.value}"


def storages() -> dict[str, Any]:
    """One picture, stored in every way."""
    data = pixels(81, 101)
    irregular = da.from_array(data, chunks=(2, (5, 76), (60, 1, 40)))
    plain: dict[str, Any] = {"dims": ("c", "y", "x"), "c_coords": list("rgb"), "transformations": GLOBAL}
    return {
        "irregular chunks": Image2DModel.parse(irregular, **plain),
        "pyramid": Image2DModel.parse(data, scale_factors=[2, 2], **plain),
        "unnamed channels": picture(data, "012"),
        "opaque alpha": picture(np.concatenate([data, np.full((1, 81, 101), 255, np.uint8)]), "rgba"),
        "uint16": picture(data.astype(np.uint16) * 257),
    }


@pytest.mark.parametrize("storage", storages())
def test_any_size_and_storage_of_an_image_gives_the_same(storage: str) -> None:
    expected = predict(section(he=picture(pixels(81, 101))), inplace=False).values
    options: dict[str, Any] = {"value_range": (0, 65535)} if storage == "uint16" else {}
    found = predict(section(he=storages()[storage]), inplace=False, **options).values
    assert_close(found, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 3)])
def test_images_smaller_than_a_tile_or_a_margin(shape: tuple[int, int]) -> None:
    sdata = section(he=picture(pixels(*shape)))
    ps.pp.tissue(sdata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixnetWarning)
        predict(sdata)
    assert sdata["he_programs"].shape == (2, -(-shape[0] // 4), -(-shape[1] // 4))


def test_a_white_slide_goes_all_the_way() -> None:
    sdata = section(he=picture(np.full((3, 48, 64), 255, np.uint8)), cells=squares())
    with pytest.warns(PixnetWarning, match="No tissue was found"):
        ps.pp.tissue(sdata)
    with pytest.warns(PixnetWarning, match="There is no tissue on image"):
        predict(sdata, "he")
    table = aggregate(sdata)
    assert np.isnan(table.X).all()
    np.testing.assert_array_equal(table.obs["coverage"], 0)


def test_odd_shapes_have_the_coverage_that_shapely_gives() -> None:
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    valid = [
        shapely.box(-5, 0, 5, 10),
        shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(5, 5, 6, 7)]),
        shapely.box(0, 0, 9, 9) - shapely.box(3, 3, 4.5, 4),
        shapely.box(1.25, 1.25, 1.5, 1.5),
        shapely.Point(30, 20).buffer(7),
        shapely.Polygon(),
        shapely.box(1000, 0, 1001, 1),
    ]
    sdata = section(he=picture(np.ones((1, 48, 64)), "g"), cells=squares([bow_tie, *valid]))
    with pytest.warns(PixnetWarning, match="1 invalid shapes"):
        table = aggregate(sdata)
    raster = shapely.box(0, 0, 64, 48)
    expected = [2.0, *(shapely.intersection(shape, raster).area or np.nan for shape in valid)]
    assert_close(table.X[:, 0], expected, ulp=16)
    assert len(table) == len(expected)


def test_a_result_that_is_refused_leaves_the_object_as_it_was() -> None:
    sdata = section(cells=squares())
    before = {name: id(element) for _, name, element in sdata.gen_elements()}
    for name in ("he", "../he"):
        with pytest.raises(PixnetError):
            aggregate(sdata, key_added=name, inplace=True, overwrite=True)
    assert {name: id(element) for _, name, element in sdata.gen_elements()} == before


def test_no_element_of_a_store_is_lost_to_a_result_of_another_kind(tmp_path: Path) -> None:
    section(cells=squares()).write(tmp_path / "s.zarr")
    sdata = sd.read_zarr(tmp_path / "s.zarr")
    with pytest.raises(PixnetError):
        predict(sdata, image_key_added="cells", overwrite=True, genes=["VIM"])
    assert {"he", "cells"} <= {name for _, name, _ in sd.read_zarr(tmp_path / "s.zarr").gen_elements()}


def test_a_device_that_is_not_here_leaves_nothing_behind(tmp_path: Path) -> None:
    section().write(tmp_path / "s.zarr")
    sdata = sd.read_zarr(tmp_path / "s.zarr")
    with pytest.raises(PixnetError, match="cuda:99"):
        predict(sdata, device="cuda:99")
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_every_test_that_a_row_names_exists() -> None:
    for row in ROWS:
        assert row.refused or row.held_by, row.given
        for name in row.held_by:
            path, _, function = name.partition("::")
            tree = ast.parse((TESTS / path).read_text())
            assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name


def test_the_page_says_what_the_table_says() -> None:
    path = TESTS.parent / "docs" / "_scripts" / "bad_inputs.py"
    spec = importlib.util.spec_from_file_location("bad_inputs_page", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (TESTS.parent / "docs" / "bad_inputs.md").read_text() == script.page(), f"run python {path}"
