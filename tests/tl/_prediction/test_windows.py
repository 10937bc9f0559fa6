"""Tiles are as large as costs the least for the shapes that are asked for, and any size gives the same."""

import numpy as np
import pandas as pd
import pytest
import tiny
from hardening.slides import GLOBAL, section
from precision import assert_close
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._sdata import build
from pixnet_sd.nn.inference import predict
from pixnet_sd.tl._prediction.windows import count_met, count_pixels


def test_tiles_that_meet_bounds_are_counted_as_one_by_one() -> None:
    random, shape, tile = np.random.default_rng(0), (700, 500), (64, 96)
    corner = random.uniform(-50, 700, (40, 2))
    bounds = np.hstack([corner, corner + random.uniform(1, 150, (40, 2))])
    met = sum(
        bool(
            (
                (bounds[:, 0] < x + tile[1]) & (bounds[:, 2] > x) & (bounds[:, 1] < y + tile[0]) & (bounds[:, 3] > y)
            ).any()
        )
        for y in range(0, shape[0], tile[0])
        for x in range(0, shape[1], tile[1])
    )
    assert count_met(bounds, shape, tile) == met


def test_everywhere_large_tiles_cost_less_and_in_one_place_small_ones() -> None:
    network = tiny.model(["A"]).network
    everywhere, place = np.array([[0.0, 0.0, 4096.0, 4096.0]]), np.array([[100.0, 100.0, 120.0, 120.0]])
    for bounds, cheaper, dearer in ((everywhere, 1024, 256), (place, 256, 1024)):
        assert count_pixels(network, bounds, (4096, 4096), cheaper) < count_pixels(
            network, bounds, (4096, 4096), dearer
        )


def test_few_shapes_are_computed_in_small_tiles_with_the_same_result(
    toy_section: SpatialData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(predict.TILES_PX, "cpu", 512)
    spots = build.make_circles(np.array([[30.0, 30.0], [480.0, 470.0]]), 12.0, pd.RangeIndex(2), GLOBAL)
    sdata, sizes = section(he=toy_section["he"], spots=spots), list[int]()
    model = tiny.model(["EPCAM", "VIM"])
    model.network.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[-1]))
    found = ps.tl.predict_shapes(sdata, "spots", model=model, device="cpu", inplace=False, progress=False)
    small, sizes[:] = list(sizes), []
    whole = ps.tl.predict_shapes(
        sdata, "spots", model=model, device="cpu", tile_size=512, inplace=False, progress=False
    )
    assert len(small) == 2
    assert max(small) < min(sizes)
    assert "so tiles of 128 px" in caplog.text
    assert_close(found.X, whole.X)
