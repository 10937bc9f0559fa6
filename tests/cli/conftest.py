"""Small slides and models on disk."""

import shutil
from pathlib import Path

import pytest
import tiny
from spatialdata import SpatialData

import pixnet_sd as ps


@pytest.fixture(scope="session")
def toy_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toy = ps.datasets.toy(size_px=256)
    kept = {name: toy[name] for name in ("he", "cells", "bins_8um", "bins_8um_counts")}
    slide = SpatialData.init_from_elements(kept, attrs={"pixnet_sd": {"mpp": {"he": 0.5}}})
    path = tmp_path_factory.mktemp("toy") / "a.zarr"
    slide.write(path)
    return path


@pytest.fixture
def slide(toy_on_disk: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_on_disk, tmp_path / "a.zarr"))


@pytest.fixture(scope="session")
def model(toy_on_disk: Path) -> str:
    return saved_model(toy_on_disk.parent / "model", seed=0)


@pytest.fixture(scope="session")
def other_model(toy_on_disk: Path) -> str:
    return saved_model(toy_on_disk.parent / "other_model", seed=1)


def saved_model(folder: Path, *, seed: int) -> str:
    tiny.model(["KRT8", "COL1A1"], seed).save(folder)
    return str(folder)
