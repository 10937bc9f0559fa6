"""Warnings point at the line of the user, however deep they arise."""

import inspect
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from spatialdata import SpatialData
from spatialdata.models import Image2DModel

import pixnet_sd as ps
from pixnet_sd._errors import PixnetWarning, warn


def white_section() -> SpatialData:
    white = Image2DModel.parse(np.full((3, 64, 64), 255, np.uint8), dims=("c", "y", "x"), c_coords=["r", "g", "b"])
    sdata = SpatialData(images={"he": white})
    ps.pp.mpp(sdata, "he", mpp=8.0)
    return sdata


def test_a_warning_points_at_the_call() -> None:
    sdata = white_section()
    with pytest.warns(PixnetWarning, match="empty glass") as caught:
        before = inspect.currentframe().f_lineno  # type: ignore[union-attr]
        ps.pp.tissue(sdata)
    assert (caught[0].filename, caught[0].lineno) == (__file__, before + 1)


def test_a_warning_points_past_the_standard_library() -> None:
    """Frames of a thread pool lie above the user's function, not between it and the package."""
    sdata = white_section()
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("always")
        pool.submit(lambda: ps.pp.tissue(sdata)).result()
    assert [one.filename for one in caught if one.category is PixnetWarning] == [__file__]


def test_a_warning_without_a_caller_of_ours() -> None:
    with pytest.warns(PixnetWarning, match="^said$") as caught:
        warn("said")
    assert caught[0].filename == __file__
