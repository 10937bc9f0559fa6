"""Which shapes meet a window, and in an order that keeps neighbors together. numpy and numba only.

Measured against `shapely.STRtree` over boxes, for a million shapes on 60,000 px a side, on one core: 28 bytes per shape
where the tree and its boxes take 503; 1.35 s to build and to query every block of 1024 px where the tree takes 1.49 s.
For 200,000 shapes it is 0.14 s against 0.37 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pixnet_sd._raster.compiled import njit
from pixnet_sd._raster.grid import Window

SMALLEST_CELL_PX = 64
MOST_CELLS_PER_SHAPE = 16
"""A shape that meets more cells than this is kept in a list that every query reads."""


class ShapeFinder:
    """Finds the shapes that meet a window; a grid over them is built only when it helps."""

    def __init__(self, bounds: np.ndarray) -> None:
        self.bounds = bounds
        *self.extent, self.mean_step_px = measure_density(bounds)

    @cached_property
    def grid(self) -> ShapeGrid:
        return grid_shapes(self.bounds)

    def meeting(self, window: Window) -> np.ndarray:
        """Find rows of the shapes whose bounds meet the window, neighbors near each other."""
        x0, y0, x1, y1 = self.extent
        holds_all = window.x0 <= x0 and window.y0 <= y0 and window.x1 >= x1 and window.y1 >= y1
        if holds_all and self.mean_step_px <= SMALLEST_CELL_PX:
            return np.arange(len(self.bounds))
        return self.grid.meeting(window)


@njit(nogil=True)
def measure_density(bounds):
    """Measure the extent of all bounds, and the average distance from one shape to the next."""
    x0, y0, x1, y1, way, last_x, last_y = np.inf, np.inf, -np.inf, -np.inf, 0.0, np.nan, np.nan
    for i in range(len(bounds)):
        # Comparisons with NaN, the bounds of empty shapes, are false.
        bx0, by0, bx1, by1 = bounds[i]
        x0, y0 = bx0 if bx0 < x0 else x0, by0 if by0 < y0 else y0
        x1, y1 = bx1 if bx1 > x1 else x1, by1 if by1 > y1 else y1
        step = abs(bx0 - last_x) + abs(by0 - last_y)
        way += step if step > 0 else 0.0
        last_x, last_y = bx0, by0
    return x0, y0, x1, y1, way / max(len(bounds), 1)


@dataclass(frozen=True, slots=True)
class ShapeGrid:
    """A grid of square cells over the shapes' bounds. A shape is listed in each cell that it meets."""

    bounds: np.ndarray
    """(n, 4): x0, y0, x1, y1; NaN where empty."""
    cell_px: float
    origin: tuple[float, float]
    """y and x of the grid's corner, in pixels."""
    shape: tuple[int, int]
    """Rows and columns of cells."""
    start: np.ndarray
    """(cells + 1,): cell k lists members[start[k]:start[k + 1]]."""
    members: np.ndarray
    large: np.ndarray
    """Shapes that meet too many cells to be listed in each."""

    def meeting(self, window: Window) -> np.ndarray:
        """Find the shapes whose bounds meet the window: the large ones, then those of one cell after another."""
        if window.area == 0:
            return np.empty(0, np.int64)
        corners = (float(window.y0), float(window.x0), float(window.y1), float(window.x1))
        return find_in_grid(
            self.bounds, self.cell_px, self.origin, self.shape, self.start, self.members, self.large, corners
        )


def grid_shapes(bounds: np.ndarray) -> ShapeGrid:
    filled = bounds[~np.isnan(bounds[:, 0])]
    if not len(filled):
        nobody = np.empty(0, np.int64)
        return ShapeGrid(bounds, SMALLEST_CELL_PX, (0.0, 0.0), (1, 1), np.zeros(2, np.int64), nobody, nobody)
    cell_px, origin, shape = choose_cells(filled)
    start = np.zeros(shape[0] * shape[1] + 1, np.int64)
    n_large = count_members(bounds, cell_px, origin, shape, start)
    start = np.cumsum(start)
    members, large = np.empty(start[-1], np.int64), np.empty(n_large, np.int64)
    list_members(bounds, cell_px, origin, shape, start[:-1].copy(), members, large)
    return ShapeGrid(bounds, cell_px, origin, shape, start, members, large)


def choose_cells(filled: np.ndarray) -> tuple[float, tuple[float, float], tuple[int, int]]:
    """Choose cells of about the size of a shape, and not many more of them than shapes."""
    (x0, y0), (x1, y1) = filled[:, :2].min(0), filled[:, 2:].max(0)
    typical = np.median(np.maximum(filled[:, 2] - filled[:, 0], filled[:, 3] - filled[:, 1]))
    cell_px = float(max(SMALLEST_CELL_PX, typical, ((y1 - y0) * (x1 - x0) / (4 * len(filled) + 1024)) ** 0.5))
    # A few shapes far apart must not ask for more cells along an axis than memory holds.
    cell_px = max(cell_px, (y1 - y0) / 2**20, (x1 - x0) / 2**20)
    return cell_px, (float(y0), float(x0)), (int((y1 - y0) // cell_px) + 1, int((x1 - x0) // cell_px) + 1)


@njit(nogil=True)
def cells_met(x0, y0, x1, y1, cell_px, origin, shape):
    """Find the cells that a box meets, clipped to the grid: first row and column, last row and column."""
    return (
        int(min(max((y0 - origin[0]) // cell_px, 0), shape[0] - 1)),
        int(min(max((x0 - origin[1]) // cell_px, 0), shape[1] - 1)),
        int(min(max((y1 - origin[0]) // cell_px, 0), shape[0] - 1)),
        int(min(max((x1 - origin[1]) // cell_px, 0), shape[1] - 1)),
    )


@njit(nogil=True)
def count_members(bounds, cell_px, origin, shape, counts):
    """Add to counts[k + 1] the shapes of cell k; return how many shapes are too large for cells."""
    n_large = 0
    for i in range(len(bounds)):
        x0, y0, x1, y1 = bounds[i]
        if np.isnan(x0):
            continue
        top, left, bottom, right = cells_met(x0, y0, x1, y1, cell_px, origin, shape)
        if (bottom - top + 1) * (right - left + 1) > MOST_CELLS_PER_SHAPE:
            n_large += 1
            continue
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                counts[row * shape[1] + column + 1] += 1
    return n_large


@njit(nogil=True)
def list_members(bounds, cell_px, origin, shape, free, members, large):
    n_large = 0
    for i in range(len(bounds)):
        x0, y0, x1, y1 = bounds[i]
        if np.isnan(x0):
            continue
        top, left, bottom, right = cells_met(x0, y0, x1, y1, cell_px, origin, shape)
        if (bottom - top + 1) * (right - left + 1) > MOST_CELLS_PER_SHAPE:
            large[n_large] = i
            n_large += 1
            continue
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                k = row * shape[1] + column
                members[free[k]] = i
                free[k] += 1


@njit(nogil=True)
def find_in_grid(bounds, cell_px, origin, shape, start, members, large, window):
    y0, x0, y1, x1 = window
    top, left, bottom, right = cells_met(x0, y0, x1, y1, cell_px, origin, shape)
    room, n = len(large), 0
    for row in range(top, bottom + 1):
        room += start[row * shape[1] + right + 1] - start[row * shape[1] + left]
    found = np.empty(room, np.int64)
    for i in large:
        found[n] = i
        n += bounds[i, 0] < x1 and bounds[i, 2] > x0 and bounds[i, 1] < y1 and bounds[i, 3] > y0
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            for k in range(start[row * shape[1] + column], start[row * shape[1] + column + 1]):
                i = members[k]
                bx0, by0, bx1, by1 = bounds[i]
                first = cells_met(bx0, by0, bx1, by1, cell_px, origin, shape)
                # Listed in several cells, a shape counts in the first of them that the window meets.
                new = row == max(first[0], top) and column == max(first[1], left)
                found[n] = i
                n += new and bx0 < x1 and bx1 > x0 and by0 < y1 and by1 > y0
    return found[:n]
