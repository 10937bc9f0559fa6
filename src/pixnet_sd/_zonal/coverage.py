"""Exact area of overlap between shapes and the pixels of a window. numpy, numba and scipy only."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from pixnet_sd._raster.compiled import njit
from pixnet_sd._raster.grid import Window
from pixnet_sd._zonal.rings import to_offsets
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd._zonal.spans import fill_batch, new_batch, new_cursor
from pixnet_sd._zonal.threads import over_ranges


def coverage(shapes: Shapes, window: Window) -> csr_array:
    """Compute the covered share of each pixel: (shapes, pixels of the window row by row), sorted, no zeros.

    A row sums to the shape's area within the window. Coverage of two windows side by side is that of their union.
    """
    n, corners = len(shapes), corners_of(window)
    rows, counts = np.arange(n), np.zeros(n, np.int64)
    over_ranges(count_range, n, shapes.geometry, rows, corners, counts)
    start = to_offsets(counts)
    wide = max(window.area, start[-1]) > np.iinfo(np.int32).max
    places, weights = np.empty(start[-1], np.int64 if wide else np.int32), np.empty(start[-1])
    over_ranges(fill_range, n, shapes.geometry, rows, corners, start[:-1].copy(), places, weights)
    covered = csr_array((weights, places, start.astype(places.dtype)), shape=(n, window.area))
    covered.has_sorted_indices = covered.has_canonical_format = True
    return covered


def corners_of(window: Window) -> tuple[int, int, int, int]:
    """Convert a window for compiled code."""
    return window.y0, window.x0, window.y1, window.x1


@njit(nogil=True)
def count_range(begin, end, geometry, rows, window, counts):
    batch, cursor = new_batch(window), new_cursor(begin)
    _, cuts, _, owner, first, _, _ = batch
    while cursor[0] < end:
        for e in range(fill_batch(geometry, rows, end, window, cursor, batch)):
            counts[owner[e]] += cuts[first[e + 1]] - cuts[first[e]]


@njit(nogil=True)
def fill_range(begin, end, geometry, rows, window, free, pixels, shares):
    """Write each shape's pixels from free[i] on, and move free[i] past them."""
    batch, cursor = new_batch(window), new_cursor(begin)
    places, cuts, weights, owner, first, _, _ = batch
    while cursor[0] < end:
        for e in range(fill_batch(geometry, rows, end, window, cursor, batch)):
            at = free[owner[e]]
            for s in range(first[e], first[e + 1]):
                for k in range(cuts[s], cuts[s + 1]):
                    pixels[at], shares[at] = places[s] + k - cuts[s], weights[k]
                    at += 1
            free[owner[e]] = at
