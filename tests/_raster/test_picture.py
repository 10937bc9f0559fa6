"""Resampling keeps means and ramps, and never depends on the window."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture

NOISE = np.random.default_rng(0).integers(0, 256, (3, 37, 53)).astype(np.uint8)


def picture(data: np.ndarray, step: float) -> Picture:
    return Picture(da.from_array(data, chunks=(3, 16, 16)), (step, step))


def test_without_resampling_pixels_are_as_they_are_and_white_around() -> None:
    read = picture(NOISE, 1.0).read(Window(-2, -3, 40, 60))
    np.testing.assert_array_equal(read[:, 2:39, 3:56], NOISE)
    assert (read[:, :2] == 255).all() and (read[:, 39:] == 255).all() and (read[:, :, 56:] == 255).all()


@given(st.floats(0.4, 4.0), st.integers(-3, 20), st.integers(-3, 20), st.integers(1, 12))
def test_windows_agree_with_the_whole_to_the_last_bit(step: float, y: int, x: int, side: int) -> None:
    whole = picture(NOISE, step).read(Window(-3, -3, 40, 40))
    part = picture(NOISE, step).read(Window(y, x, y + side, x + side))
    np.testing.assert_array_equal(part, whole[:, y + 3 : y + 3 + side, x + 3 : x + 3 + side])


def test_step_2_is_the_mean_of_four() -> None:
    small = picture(NOISE[:, :36, :52], 2.0).read(Window(0, 0, 18, 26))
    means = NOISE[:, :36, :52].reshape(3, 18, 2, 26, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(small, means, atol=0.5)


@pytest.mark.parametrize("step", [0.5, 0.8, 1.7, 3.0])
def test_a_ramp_stays_a_ramp(step: float) -> None:
    ramp = np.broadcast_to(np.arange(50, dtype=np.float32) / 255, (3, 50, 50))
    read = picture(np.ascontiguousarray(ramp), step).read(Window(4, 4, 10, 10))
    np.testing.assert_allclose(read[0, 0], (np.arange(4, 10) + 0.5) * step - 0.5, atol=0.51)


def test_the_grid_covers_the_picture() -> None:
    grid = picture(NOISE, 2.0).grid
    assert grid.shape == (19, 27)
    assert grid.step == (2.0, 2.0)
