"""Shapes turned into spans of weighted pixels, a cache-sized batch at a time. numba only.

All that reads coverage works on batches: a batch is read once per channel while it stays in the cache, and a shape of
any size passes through as strips of rows, so scratch does not grow with it.
"""

from __future__ import annotations

from collections import namedtuple
from math import ceil, floor

import numpy as np

from pixnet_sd._raster.compiled import njit
from pixnet_sd._zonal.ellipse import ellipse_spans
from pixnet_sd._zonal.polygon import collect_spans, scan_polygon
from pixnet_sd._zonal.shapes import ELLIPSE, EMPTY, RECTANGLE

BATCH_PX = 2**14
"""Pixels in a batch; a single row of a wide shape may take more."""
BATCH_RUNS = 2**12

NOISE = 1e-10
"""Overlaps below this share of a pixel (or of the shape, if that is less) are rounding of its coordinates, and none: a
bin that ends on a pixel's border must not take the next pixel into its minimum."""

Batch = namedtuple("Batch", "places cuts weights owner first covered scratch")
"""Run e belongs to shape owner[e] and has the spans first[e] to first[e + 1]. Span s begins at pixel places[s] of the
window, with the weights cuts[s] to cuts[s + 1], none of them 0. A run's weights add up to covered[e]."""


@njit(nogil=True)
def new_batch(window):
    room = 2 * max(BATCH_PX, window[3] - window[1] + 2)
    places, cuts, weights, scratch = np.empty(room, np.int64), np.zeros(room, np.int64), np.empty(room), np.empty(room)
    first = np.zeros(BATCH_RUNS + 1, np.int64)
    return Batch(places, cuts, weights, np.empty(BATCH_RUNS, np.int64), first, np.empty(BATCH_RUNS), scratch)


@njit(nogil=True)
def new_cursor(begin):
    """Begin at a place in `rows`; the second number counts finished rows of that shape's box."""
    return np.array([begin, 0])


@njit(nogil=True)
def fill_batch(geometry, rows, end, window, cursor, batch):
    """Fill a batch with runs of shapes rows[cursor[0]:end], move the cursor, return the number of runs."""
    # Arrays are taken out of their tuples here: each time inside the loop would cost atomic reference counts, which
    # made a small rectangle take four times as long.
    kind, bounds, area, xy, start, sign, ring, piece, extent, ellipses = geometry
    places, cuts, weights, owner, first, covered, scratch = batch
    run, span, at, stride = 0, 0, 0, window[3] - window[1]
    k, done = cursor[0], cursor[1]
    while k < end and run < BATCH_RUNS and at < BATCH_PX:
        i, before = rows[k], at
        y0, x0, y1, x1 = pixel_box(kind[i], bounds, i, window)
        top, bottom = y0 + done, min(y1, y0 + done + strip_height(y1 - y0 - done, x1 - x0))
        box, place = (top, x0, bottom, x1), (top - window[0]) * stride + x0 - window[1]
        if bottom > top:
            noise = NOISE * min(1.0, area[i])
            if kind[i] == RECTANGLE:
                span, at = rectangle_spans(bounds, i, box, noise, place, stride, places, cuts, weights, span, at)
            elif kind[i] == ELLIPSE:
                span, at = ellipse_spans(
                    bounds, ellipses, i, box, noise, place, stride, places, cuts, weights, span, at
                )
            else:
                cells = scan_polygon(xy, start, sign, piece, extent, ring[i], ring[i + 1], box, scratch)
                span, at = collect_spans(cells, noise, place, stride, places, cuts, weights, span, at)
            owner[run], first[run + 1], cuts[span], covered[run] = i, span, at, sum_of(weights, before, at)
            run += 1
        k, done = (k + 1, 0) if bottom >= y1 else (k, bottom - y0)
    cursor[0], cursor[1] = k, done
    return run


@njit(nogil=True, forceinline=True)
def pixel_box(kind, bounds, i, window):
    """Find the pixels (y0, x0, y1, x1) of the window that shape i's bounds meet; empty if none."""
    y0, x0, y1, x1 = window
    # Compared as floats before they become integers: bounds may be NaN, or far outside what an integer holds.
    left, top, right, bottom = bounds[i, 0], bounds[i, 1], bounds[i, 2], bounds[i, 3]
    if kind == EMPTY or not (left < x1 and right > x0 and top < y1 and bottom > y0):
        return y0, x0, y0, x0
    return floor(max(top, y0)), floor(max(left, x0)), ceil(min(bottom, y1)), ceil(min(right, x1))


@njit(nogil=True, forceinline=True)
def strip_height(height, width):
    # Two columns more are what a polygon's scan lines need.
    return height if height * (width + 2) <= BATCH_PX else max(1, BATCH_PX // (width + 2))


@njit(nogil=True, forceinline=True)
def rectangle_spans(bounds, i, box, noise, place, stride, places, cuts, weights, span, at):
    """Find spans of a rectangle; its overlap is the share of a pixel's height times that of its width."""
    left, top, right, bottom = bounds[i, 0], bounds[i, 1], bounds[i, 2], bounds[i, 3]
    y0, x0, y1, x1 = box
    for y in range(y0, y1):
        along_y = min(bottom, y + 1.0) - max(top, float(y))
        inside = False
        for x in range(x0, x1):
            weight = along_y * (min(right, x + 1.0) - max(left, float(x)))
            if weight > noise and not inside:
                places[span], cuts[span] = place + x - x0, at
                span += 1
            inside = weight > noise
            weights[at] = weight
            at += inside
        place += stride
    return span, at


@njit(nogil=True, fastmath={"reassoc"}, forceinline=True)
def sum_of(weights, begin, end):
    total = 0.0
    for k in range(begin, end):
        total += weights[k]
    return total
