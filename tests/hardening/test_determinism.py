"""The same bytes whatever the machine does; where only rounding is promised, that it is only rounding."""

import os
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from hardening.slides import aggregate, picture, pixels, predict, section, tiny_model
from precision import assert_close

import pixnet_sd as ps
from pixnet_sd._zonal import threads as _parallel


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return pixels(100, 120)


def programs(data: np.ndarray, **options: Any) -> np.ndarray:
    sdata = section(he=picture(data))
    predict(sdata, model=tiny_model(), **options)
    found: np.ndarray = sdata["he_programs"].values
    return found


def test_the_same_call_gives_the_same_bytes(data: np.ndarray) -> None:
    assert programs(data).tobytes() == programs(data).tobytes()


@pytest.mark.parametrize("threads", [2])
def test_threads_of_torch_change_nothing_but_rounding(data: np.ndarray, threads: int) -> None:
    expected, before = programs(data), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = programs(data)
    finally:
        torch.set_num_threads(before)
    assert_close(found, expected)


@pytest.mark.parametrize("options", [{"tile_size": 32}, {"tile_size": 128}, {"batch_size": 3}])
def test_tiles_and_batches_change_nothing_but_rounding(data: np.ndarray, options: dict) -> None:
    assert_close(programs(data, **options), programs(data))


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "long", reason="takes minutes; nox -s fuzz does it")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++, which is not here")
def test_compiling_changes_nothing_but_rounding(data: np.ndarray) -> None:
    assert_close(programs(data, compile=True, tile_size=128), programs(data))


@pytest.mark.parametrize("statistic", ["sum", "mean", "std", "median"])
def test_threads_of_aggregation_give_the_same_bytes(
    data: np.ndarray, statistic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdata = ps.datasets.toy(size_px=256)
    tables = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(_parallel, "thread_count", lambda threads=threads: threads)
        tables.append(aggregate(sdata, "cells", raster_key="he", statistic=statistic))
    assert len({table.X.tobytes() for table in tables}) == 1
