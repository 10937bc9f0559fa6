"""µm per pixel is stated or derived, checked, and never guessed."""

import numpy as np
import pandas as pd
import pytest
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError, PixnetWarning
from pixnet_sd._sdata import build, provenance, units


def holding(systems: dict[str, np.ndarray], mpp: dict[str, float] | None = None) -> SpatialData:
    image = build.make_image(np.zeros((3, 8, 8), np.uint8), "rgb", build.make_transformations(systems))
    rows, columns = np.indices((4, 5)).reshape(2, -1)
    centers = np.column_stack([columns * 200.0 + (rows % 2) * 100.0, rows * 200.0 * np.sqrt(3) / 2])
    spots = build.make_circles(
        centers, 55.0, pd.RangeIndex(20), build.make_transformations({name: np.eye(3) for name in systems})
    )
    return build.make_section({"he": image, "spots": spots}, {}, mpp or {})


def test_unknown_is_an_error_that_names_three_ways() -> None:
    with pytest.raises(PixnetValueError, match=r"(?s)mpp=.*coordinate system.*pitch_um"):
        units.image_mpp(holding({"global": np.eye(3)}), "he")


@pytest.mark.parametrize("name", ["um", "Micrometers", "µm"])
def test_a_system_in_micrometres_says_it(name: str) -> None:
    rotated = np.array([[0.0, -0.25, 1.0], [0.25, 0.0, 2.0], [0.0, 0.0, 1.0]])
    assert units.image_mpp(holding({"global": np.eye(3), name: rotated}), "he") == pytest.approx(0.25)


def test_what_was_recorded_counts_first_and_a_difference_warns() -> None:
    sdata = holding({"um": np.diag([0.25, 0.25, 1])}, {"he": 0.26})
    assert units.image_mpp(sdata, "he") == 0.26
    provenance.set_mpp_record(sdata, "he", 0.5)
    with pytest.warns(PixnetWarning, match=r"0.5 by what pp.mpp recorded; 0.25 by coordinate system 'um'"):
        assert units.image_mpp(sdata, "he") == 0.5


@pytest.mark.parametrize("mpp", [0.01, 30.0])
def test_outside_the_sane_window(mpp: float) -> None:
    with pytest.raises(PixnetValueError, match=r"outside 0.05 to 20"):
        units.image_mpp(holding({"global": np.eye(3)}, {"he": mpp}), "he")


def test_hexagonal_pitch() -> None:
    sdata = holding({"global": np.eye(3)})
    assert units.mpp_from_pitch(sdata, "he", "spots", 100.0) == pytest.approx(0.5)


@pytest.mark.parametrize("matrix", [np.diag([0.5, 1.0, 1.0]), np.array([[0.5, 0.3, 0], [0, 0.5, 0], [0, 0, 1]])])
def test_pixels_that_are_not_square_warn(matrix: np.ndarray) -> None:
    with pytest.warns(PixnetWarning, match=r"'he' are not square in 'um': 0.5 x "):
        mpp = units.image_mpp(holding({"global": np.eye(3), "um": matrix}), "he")
    assert mpp**2 == pytest.approx(np.linalg.det(matrix))
