"""Exact overlap of polygons with the pixels of a box, by accumulating signed area along scan lines. numba only.

An edge covers what lies to its right. Within a row of pixels it does so fully from the next column on, and by a
trapezium in its own; so each edge writes two numbers per pixel that it passes, and one running sum along the row gives
the overlap of every pixel, whatever the polygon's size (the idea is that of anti-aliased font rasterisers, such as
font-rs and FreeType's). Holes and parts need no care of their own: their edges carry their sign.
"""

from __future__ import annotations

from math import floor

from pixnet_sd._raster.compiled import njit

WHOLE = 1 - 1e-13
"""A pixel covered by more than this is covered whole; the rest is rounding."""
SMALLEST = 1e-300
"""Lengths below are none: where a library has told the processor to flush denormals, they are 0 when divided by."""

PIECE_EDGES = 64
"""Edges of a ring that are passed over together where none of them matters to a box."""


@njit(nogil=True)
def scan_polygon(xy, start, sign, at, extent, first_ring, last_ring, box, scratch):
    """Write to `scratch` where the overlap with pixels of a box (y0, x0, y1, x1) changes, row by row.

    That holds at least height * (width + 2); the two last columns are spare.
    """
    y0, x0, y1, x1 = box
    cells = scratch[: (y1 - y0) * (x1 - x0 + 2)].reshape(y1 - y0, x1 - x0 + 2)
    cells[:] = 0.0
    for r in range(first_ring, last_ring):
        for p in range(at[r], at[r + 1]):
            if matters(extent, p, box):
                begin = start[r] + (p - at[r]) * PIECE_EDGES
                add_edges(cells, xy, begin, min(begin + PIECE_EDGES + 1, start[r + 1]), x0, y0, sign[r])
    return cells


@njit(nogil=True, forceinline=True)
def matters(extent, p, box):
    """Check whether a piece of a ring meets the rows of a box (y0, x0, y1, x1), in it or to its left."""
    y0, x0, y1, x1 = box
    return extent[p, 1] > y0 and extent[p, 0] < y1 and extent[p, 2] < x1


@njit(nogil=True)
def add_edges(cells, xy, begin, end, x0, y0, sign):
    ax, ay = xy[begin, 0] - x0, xy[begin, 1] - y0
    for k in range(begin + 1, end):
        bx, by = xy[k, 0] - x0, xy[k, 1] - y0
        if by - ay > SMALLEST:
            add_edge(cells, ax, ay, bx, by, sign)
        elif ay - by > SMALLEST:
            add_edge(cells, bx, by, ax, ay, -sign)
        ax, ay = bx, by


@njit(nogil=True)
def add_edge(cells, ax, ay, bx, by, sign):
    """Add an edge that runs down from (ax, ay) to (bx, by), row by row."""
    height, width = cells.shape[0], cells.shape[1] - 2
    if by <= 0 or ay >= height or min(ax, bx) >= width:
        return
    slope = (bx - ax) / (by - ay)
    first, last = max(floor(ay), 0), min(floor(by), height - 1)
    # The ends of an edge are its vertices to the last bit, so that neighboring edges meet.
    y, x = (ay, ax) if ay >= 0 else (0.0, ax - ay * slope)
    for row in range(first, last + 1):
        next_y, next_x = (by, bx) if by <= row + 1 else (row + 1.0, ax + (row + 1 - ay) * slope)
        if next_y > y:
            add_span(cells[row], x, next_x, sign * (next_y - y))
        y, x = next_y, next_x


@njit(nogil=True)
def add_span(cells, p, q, cover):
    """Add a piece of edge within one row, from x = p to q in any order, that spans `cover` of the row's height."""
    width = len(cells) - 2
    left, right = min(p, q), max(p, q)
    if left >= width:
        return
    if right <= 0:
        cells[0] += cover
        return
    column = floor(left)
    if column >= 0 and right <= column + 1:
        covered = cover * (column + 1 - (left + right) / 2)
        cells[column] += covered
        cells[column + 1] += cover - covered
        return
    add_long_span(cells, left, right, cover)


@njit(nogil=True)
def add_long_span(cells, left, right, cover):
    """Add a piece over several columns; left of the box it counts in full, right of it not."""
    width = len(cells) - 2
    if right - left < SMALLEST:
        cells[0] += cover
        return
    per_column = cover / (right - left)
    if left < 0:
        cells[0] -= per_column * left
        left = 0.0
    while left < right and left < width:
        column = floor(left)
        end = min(right, column + 1.0)
        part = per_column * (end - left)
        covered = part * (column + 1 - (left + end) / 2)
        cells[column] += covered
        cells[column + 1] += part - covered
        left = end


@njit(nogil=True)
def collect_spans(cells, noise, place, stride, places, cuts, weights, span, at):
    """Collect the running sums along the rows as spans of weights, if they are more than noise.

    Spans are written from `span` on, weights from `at` on; `place` is the first cell's pixel. Returns what follows.
    """
    height, width = cells.shape[0], cells.shape[1] - 2
    for row in range(height):
        covered, inside = 0.0, False
        for column in range(width):
            covered += cells[row, column]
            if covered > noise and not inside:
                places[span], cuts[span] = place + column, at
                span += 1
            inside = covered > noise
            weights[at] = covered if covered < WHOLE else 1.0
            at += inside
        place += stride
    return span, at
