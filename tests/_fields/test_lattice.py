"""Laws of fields on a lattice."""

import numpy as np

from pixnet_sd._fields.lattice import NODES_PER_LENGTH, REACH, Lattice
from pixnet_sd._raster.grid import Window

LATTICE = Lattice(37, 53, 6.5)


def random_field(channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(LATTICE.size, channels))


def test_a_linear_field_is_interpolated_exactly() -> None:
    rows, columns = np.divmod(np.arange(LATTICE.size), LATTICE.shape[1])
    points = np.random.default_rng(1).uniform(0, (53, 37), (20, 2))
    found = LATTICE.weights_at(points) @ (3 * columns - 2 * rows) * LATTICE.step_px
    np.testing.assert_allclose(found, points @ [3, -2], rtol=1e-12, atol=1e-9)


def test_pixels_have_the_values_of_points_at_their_centers() -> None:
    field, window = random_field(), Window(5, 11, 20, 40)
    y, x = np.mgrid[5:20, 11:40] + 0.5
    points = LATTICE.weights_at(np.column_stack([x.ravel(), y.ravel()])) @ field
    np.testing.assert_allclose(LATTICE.evaluate(field, window).reshape(2, -1).T, points, atol=1e-5)


def test_windows_side_by_side_are_their_union() -> None:
    field = random_field()
    whole = LATTICE.evaluate(field, Window(0, 0, 37, 53))
    parts = [LATTICE.evaluate(field, Window(0, x0, 37, x1)) for x0, x1 in ((0, 17), (17, 53))]
    np.testing.assert_allclose(np.concatenate(parts, axis=2), whole, atol=1e-6)


def test_a_kernel_is_one_in_its_middle_and_ends() -> None:
    lattice = Lattice.of_length((400, 400), 10.0)
    values = np.zeros((lattice.size, 1))
    middle = lattice.shape[1] * (lattice.shape[0] // 2) + lattice.shape[1] // 2
    values[middle] = 1
    grid = lattice.smooth(values).reshape(lattice.shape)
    assert abs(grid.max() - 1) < 0.02
    reach = int(NODES_PER_LENGTH * REACH) + 1
    assert grid[lattice.shape[0] // 2, lattice.shape[1] // 2 + reach] == 0
