"""Features as a table: exact means over shapes, whatever the tiles, and good for scanpy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import scanpy as sc
import torch
import torch.nn.functional as F
from hub import tiny_state
from precision import assert_close
from spatialdata import SpatialData
from spatialdata.models import Image2DModel
from spatialdata.transformations import Scale, Sequence, get_transformation

import pixnet_sd as ps
from pixnet_sd.nn.encoders.foundation import FOUNDATION
from pixnet_sd.nn.encoders.stain import StainEncoder

QUIET: dict[str, Any] = {"image_key": "he", "device": "cpu", "progress": False}


def test_means_over_shapes_are_those_of_the_dense_features(toy: SpatialData) -> None:
    """As `aggregate` takes them of an image element that holds the features of the whole image at stride 8."""
    ps.tl.embed(toy, "cells", encoder="stain", **QUIET)
    image = F.pad(torch.from_numpy(toy["he"].values.copy())[None].float() / 255, (128,) * 4, value=1.0)
    maps = [F.avg_pool2d(one, one.shape[-1] // 96)[..., 16:-16, 16:-16] for one in StainEncoder()(image)]
    placed = {
        system: Sequence([Scale([8, 8], axes=("x", "y")), own])
        for system, own in get_transformation(toy["he"], get_all=True).items()
    }
    toy["dense"] = Image2DModel.parse(torch.cat(maps, dim=1)[0].numpy(), dims=("c", "y", "x"), transformations=placed)
    expected = ps.tl.aggregate(toy, "cells", raster_key="dense", statistic="mean", inplace=False)
    assert_close(toy.tables["cells_features"].X, expected.X, ulp=256)


def test_tiles_do_not_matter_and_neighbors_work(toy_section: SpatialData) -> None:
    one = ps.tl.embed(toy_section, "cells", encoder="stain", inplace=False, **QUIET)
    other = ps.tl.embed(toy_section, "cells", encoder="stain", tile_size=256, inplace=False, **QUIET)
    assert_close(one.X, other.X, ulp=256)
    known = one[one.obs["coverage"] > 0].copy()
    sc.pp.neighbors(known, n_neighbors=5)
    assert known.obsp["connectivities"].nnz > 0


def test_a_foundation_model_with_context(toy_section: SpatialData, tmp_path: Path, monkeypatch) -> None:
    row = replace(FOUNDATION["lunit-s16"], depth=4, dim=32, heads=1, hidden=128)
    monkeypatch.setitem(FOUNDATION, row.name, row)
    safetensors.torch.save_file(tiny_state(row), tmp_path / "a.safetensors")
    table = ps.tl.embed(
        toy_section, "bins_8um", encoder="lunit-vits16", context_um=(100.0,), inplace=False,
        encoder_weights=tmp_path / "a.safetensors", **QUIET,
    )  # fmt: skip
    assert table.n_vars == 2 * 4 * 32
    assert table.var_names[0] == "lunit-s16_0"
    assert np.isfinite(table.X[table.obs["coverage"] == 1]).all()


def test_mistakes(toy_section: SpatialData) -> None:
    with pytest.raises(ps.PixnetError, match="random weights mean nothing"):
        ps.tl.embed(toy_section, "cells", encoder="uni", encoder_weights=None)
    with pytest.raises(ps.PixnetError, match="encoder must be a name"):
        ps.tl.embed(toy_section, "cells", encoder=None)  # type: ignore[call-overload]
    with pytest.raises(ps.PixnetError, match="No encoder 'hibou'"):
        ps.tl.embed(toy_section, "cells", encoder="hibou", **QUIET)
    with pytest.raises(ps.PixnetError, match="can be trained"):
        ps.TrainConfig(network=ps.NetworkConfig(decoder="features", head="features"))
