"""Tables straight from the image equal those of a stored map, and only what they need is computed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from precision import assert_close
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError, PixnetWarning
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine, build
from pixnet_sd.nn.model.model import Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.tl._predict import predict
from pixnet_sd.tl._predict_shapes import predict_shapes

CONFIG = NetworkConfig(
    encoder="stain", widths=(8, 8, 8, 8), programs=3, context_um=(), mpp=0.5, stride=4, decoder="safb"
)
GENES = ["EPCAM", "VIM", "CD3E", "COL1A1"]
HOW: dict[str, Any] = {"device": "cpu", "progress": False}


def tiny_model(**changes: Any) -> Model:
    return tiny.model(GENES, scores={"VIM": 0.5}, **changes)


@pytest.fixture(scope="module")
def slide() -> SpatialData:
    """With a map, and tissue on its left half only."""
    toy = ps.datasets.toy(size_px=256)
    sdata = build.make_section({key: toy[key] for key in ("he", "cells", "bins_8um")}, {}, {"he": 0.5})
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 1
    sdata["he_tissue"] = build.make_labels(mask, affine.grid_transformations(toy["he"], PixelGrid(32, 32, (8.0, 8.0))))
    predict(sdata, "he", model=tiny_model(), tile_size=64, **HOW)
    return sdata


@pytest.mark.parametrize("statistic", ["sum", "mean"])
def test_equals_predict_and_aggregate(slide: SpatialData, statistic: str) -> None:
    keys = ["cells", "bins_8um"]
    tables = predict_shapes(slide, keys, model=tiny_model(), statistic=statistic, tile_size=128, inplace=False, **HOW)
    assert list(tables) == ["cells_expression", "bins_8um_expression"]
    for key, table in zip(keys, tables.values(), strict=True):
        expected = ps.tl.aggregate(slide, key, statistic=statistic, inplace=False, progress=False)
        assert_close(table.X, expected.X)
        assert np.isnan(table.X).any() and np.isfinite(table.X).any()
        pd.testing.assert_frame_equal(table.obs, expected.obs)
        pd.testing.assert_frame_equal(table.var, expected.var)
        np.testing.assert_allclose(table.obsm["spatial"], expected.obsm["spatial"], rtol=1e-9)
        differing = {"raster", "model", "sha256", "pixels"}
        assert {k: table.uns["pixnet_sd"][k] for k in expected.uns["pixnet_sd"].keys() - differing} == {
            k: v for k, v in expected.uns["pixnet_sd"].items() if k not in differing
        }


def test_only_tiles_that_meet_a_shape_are_computed_and_once_for_all_elements(slide: SpatialData) -> None:
    corner = build.make_circles(
        np.array([[30.0, 30.0]]), 10.0, pd.Index(["a"]), affine.get_transformations(slide["he"])
    )
    sdata = build.make_section({"he": slide["he"], "one": corner, "two": corner}, {}, {"he": 0.5})
    model, runs = tiny_model(), list[int]()
    model.network.register_forward_hook(lambda *_: runs.append(1))
    predict_shapes(sdata, ["one", "two"], model=model, tile_size=64, **HOW)
    assert len(runs) == 1
    np.testing.assert_array_equal(sdata["one_expression"].X, sdata["two_expression"].X)


def test_one_table_is_added_and_names_can_be_given(slide: SpatialData) -> None:
    predict_shapes(slide, "cells", model=tiny_model(), genes=["CD3E"], key_added="few", tile_size=128, **HOW)
    assert slide["few"].var_names.tolist() == ["CD3E"]
    assert slide["few"].uns["pixnet_sd"]["unit"] == "counts"
    with pytest.raises(PixnetKeyError, match=r"replace 'few'"):
        predict_shapes(slide, "cells", model=tiny_model(), key_added="few", **HOW)
    with pytest.raises(PixnetValueError, match="one name for 2 tables"):
        predict_shapes(slide, ["cells", "bins_8um"], model=tiny_model(), key_added="few", **HOW)


def test_log_expression_is_averaged_and_nothing_else(slide: SpatialData) -> None:
    model = tiny_model(head="log")
    table = predict_shapes(slide, "cells", model=model, tile_size=128, inplace=False, **HOW)
    assert table.uns["pixnet_sd"]["statistic"] == "mean"
    with pytest.raises(PixnetValueError, match="do not add up"):
        predict_shapes(slide, "cells", model=model, statistic="sum", **HOW)
    with pytest.raises(PixnetValueError, match=r"sum and mean can\s+be pooled"):
        predict_shapes(slide, "cells", model=model, statistic="median", inplace=False, **HOW)


def test_shapes_elsewhere_are_an_error(slide: SpatialData) -> None:
    far = build.make_circles(np.array([[9e4, 9e4]]), 10.0, pd.Index(["a"]), affine.get_transformations(slide["he"]))
    sdata = build.make_section({"he": slide["he"], "far": far}, {}, {"he": 0.5})
    with pytest.raises(PixnetValueError, match="0% of the shapes 'far' lie over"):
        predict_shapes(sdata, "far", model=tiny_model(), **HOW)


def test_um_per_pixel_that_differ_from_what_the_object_says_warn(slide: SpatialData) -> None:
    with pytest.warns(PixnetWarning, match=r"0\.4 by the argument mpp; 0\.5 by what pp\.mpp recorded"):
        predict_shapes(slide, "cells", model=tiny_model(), image_key="he", mpp=0.4, inplace=False, **HOW)
