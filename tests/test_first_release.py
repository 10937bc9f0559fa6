"""What the first release wrote opens for ever: its store, its map, its table, its model."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
from precision import assert_close
from safetensors.numpy import load_file
from spatialdata import SpatialData

import pixnet_sd as ps

FOLDER = Path(__file__).parent / "data" / "first_release"
GENES = ["EPCAM", "VIM", "CD3E", "KRT8"]
PREDICT: dict[str, Any] = {"image_key": "he", "device": "cpu", "tile_size": 64, "progress": False, "inplace": False}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return load_file(FOLDER / "expected.safetensors")


@pytest.fixture(scope="module")
def model() -> ps.Model:
    return ps.Model.load(FOLDER / "model")


@pytest.fixture
def stored(tmp_path: Path) -> SpatialData:
    with zipfile.ZipFile(FOLDER / "section.zarr.zip") as archive:
        archive.extractall(tmp_path)
    return sd.read_zarr(tmp_path / "section.zarr")


def close(found: Any, expected: np.ndarray) -> None:
    assert_close(found, expected, ulp=1024)


def test_every_element_is_there(stored: SpatialData) -> None:
    found = {name: kind for kind, name, _ in stored.gen_elements()}
    assert found == {
        "he": "images",
        "he_programs": "images",
        "he_tissue": "labels",
        "cells": "shapes",
        "spots": "shapes",
        "counts": "tables",
        "he_programs_loadings": "tables",
        "cells_expression": "tables",
        "spots_expression": "tables",
    }


def test_the_model_is_what_it_was(model: ps.Model) -> None:
    assert model.genes == tuple(GENES)
    assert model.ensembl is not None and model.ensembl[3] == "ENSG00000000003"
    assert (model.card.name, model.card.scores) == ("first", {"EPCAM": 0.5, "VIM": -0.1})
    assert (model.unit, model.mpp, model.library_size) == ("counts/um2", 1.0, 1234.5)
    assert model.history == {"loss 1": [2.0, 1.5], "loss 2": [1.0]}


def test_the_model_predicts_what_it_did(stored: SpatialData, model: ps.Model, expected: dict[str, Any]) -> None:
    close(ps.tl.predict(stored, model=model, **PREDICT).values, expected["genes"])
    spots = ps.tl.predict_shapes(stored, "spots", model=model, **PREDICT)
    close(spots.X, expected["spots"])


def test_the_stored_map_is_read(stored: SpatialData, expected: dict[str, Any]) -> None:
    np.testing.assert_array_equal(stored["he_programs"].values, expected["programs"])
    ps.tl.expand(stored, raster_key="he_programs")
    close(stored["he_expression"].sel(c=GENES).values, expected["genes"])


def test_the_stored_map_is_aggregated(stored: SpatialData, expected: dict[str, Any]) -> None:
    cells = ps.tl.aggregate(stored, "cells", raster_key="he_programs", inplace=False, progress=False)
    close(cells.X, expected["cells"])
    close(cells.obs["coverage"], expected["cells_coverage"])
    spots = ps.tl.aggregate(stored, "spots", raster_key="he_programs", inplace=False, progress=False)
    close(spots.X, expected["spots"])


def test_the_stored_table_is_understood(stored: SpatialData, expected: dict[str, Any]) -> None:
    table = stored["cells_expression"]
    close(table.X, expected["cells"])
    assert list(table.obs["instance_id"]) == list(stored["cells"].index)
    assert table.uns["pixnet_sd"]["unit"] == "counts"
    scores = ps.tl.evaluate(stored, "cells_expression", "counts")
    assert set(scores.index) >= set(GENES)


def test_the_store_can_be_written_on(stored: SpatialData, model: ps.Model, expected: dict[str, Any]) -> None:
    options = {**PREDICT, "inplace": True, "overwrite": True}
    ps.tl.predict(stored, model=model, **options)
    again = sd.read_zarr(stored.path)
    close(again["he_programs"].values, expected["programs"])
    assert "cells_expression" in again
