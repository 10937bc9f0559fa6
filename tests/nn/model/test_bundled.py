"""What comes with the package is small, says what it is, and predicts without a network or other files."""

import numpy as np
import pytest
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd.nn.model.file import BUNDLED


def test_the_bundled_model_is_small_and_says_what_it_cannot_do() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) < 20e6
    model = ps.Model.load("default")
    assert "diagnosis" in model.card.limits and "one patient" in model.card.limits
    assert len(model.card.scores) == len(model.card.residuals) == len(model.genes) > 1000
    assert 500 < len(model.reliable) < len(model.genes)
    assert model.network.shares_features


def test_models_are_listed_with_their_held_out_scores() -> None:
    table = ps.models()
    assert table.loc["default", "genes"] > 1000
    assert table.loc["default", "PCC@M"] == pytest.approx(np.mean(list(ps.Model.load("default").card.scores.values())))
    assert table.loc["default", "PCC@M"] > 0.3


@pytest.mark.filterwarnings("ignore::pixnet_sd._errors.PixnetWarning")
def test_predict_needs_no_model_to_be_named() -> None:
    sdata: SpatialData = ps.datasets.toy(size_px=256, mpp=0.7)
    ps.tl.predict(sdata, "he", tile_size=256, progress=False)
    ps.tl.aggregate(sdata, "cells", progress=False)
    table = sdata["cells_expression"]
    assert table.n_vars == len(ps.Model.load("default").genes)
    assert table.var["score"].max() > 0.6
    assert np.nanmin(table.X) >= 0
