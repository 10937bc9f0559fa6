"""Polygons as flat rings: out of GEOS in bulk, into raster pixels, measured. numpy, numba and shapely only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely

from pixnet_sd._raster.compiled import njit
from pixnet_sd._zonal.polygon import PIECE_EDGES
from pixnet_sd._zonal.threads import over_ranges

LONGEST_RING_TO_PROVE = 200
"""Rings of more vertices are left to GEOS, whose check is not quadratic."""


@dataclass(frozen=True)
class Rings:
    """The closed rings of n polygons, one polygon after another."""

    xy: np.ndarray
    """(vertices, 2): the last vertex of a ring repeats its first."""
    start: np.ndarray
    """(rings + 1,): ring r is xy[start[r]:start[r + 1]]."""
    sign: np.ndarray
    """(rings,): what an area to the right of a downward edge counts, so that shells add and holes subtract."""
    first: np.ndarray
    """(n + 1,): polygon i has the rings first[i] to first[i + 1]."""

    def __len__(self) -> int:
        return len(self.first) - 1

    def enlarged(self, middle: np.ndarray, factor: float) -> Rings:
        """Scale the rings of each polygon around its point in `middle` (n, 2)."""
        vertices = self.start[self.first[1:]] - self.start[self.first[:-1]]
        around = np.repeat(middle, vertices, axis=0)
        return replace(self, xy=around + factor * (self.xy - around))

    @cached_property
    def pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """Ring r is cut into the pieces at[r] to at[r + 1] of PIECE_EDGES edges; extent[p] is top, bottom and left.

        With these a strip of rows passes over the pieces of an outline that lie elsewhere.
        """
        counts = -(-np.maximum(np.diff(self.start) - 1, 0) // PIECE_EDGES)
        at = to_offsets(counts)
        begin = np.repeat(self.start[:-1] - PIECE_EDGES * at[:-1], counts) + PIECE_EDGES * np.arange(at[-1])
        if not len(begin):
            return at, np.empty((0, 3))
        # A piece shares its last vertex with the next one, which `reduceat` leaves out.
        last = np.minimum(begin + PIECE_EDGES, np.repeat(self.start[1:] - 1, counts))
        x, y = self.xy.T
        top, left = (np.minimum(np.minimum.reduceat(v, begin), v[last]) for v in (y, x))
        return at, np.column_stack([top, np.maximum(np.maximum.reduceat(y, begin), y[last]), left])

    def spread(self, rows: np.ndarray, n: int) -> Rings:
        """Place these as the ascending `rows` of n polygons; the others have no rings."""
        counts = np.zeros(n, np.int64)
        counts[rows] = np.diff(self.first)
        return Rings(self.xy, self.start, self.sign, to_offsets(counts))

    def take(self, rows: np.ndarray) -> Rings:
        """Copy the rings of polygons `rows`, in that order."""
        first, rings = ragged_take(self.first, rows)
        start, vertices = ragged_take(self.start, rings)
        return Rings(self.xy[vertices], start, self.sign[rings], first)


def empty_rings() -> Rings:
    return Rings(np.empty((0, 2)), np.zeros(1, np.int64), np.empty(0), np.zeros(1, np.int64))


def to_offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def ragged_take(start: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find offsets of the chosen rows of a ragged array, and the places of their members in it."""
    counts = np.diff(start)[rows]
    chosen = to_offsets(counts)
    return chosen, np.arange(chosen[-1]) + np.repeat(start[:-1][rows] - chosen[:-1], counts)


def read_rings(geometries: np.ndarray) -> Rings:
    """Read the rings of Polygons and MultiPolygons, in their own coordinates; None and empty ones have none."""
    plain = (shapely.get_num_interior_rings(geometries) == 0) & (shapely.get_type_id(geometries) == 3)
    plain &= ~shapely.is_empty(geometries)
    if plain.all():
        return read_single_rings(geometries)
    order = np.concatenate([np.flatnonzero(plain), np.flatnonzero(~plain)])
    rings = concatenate_rings(read_single_rings(geometries[plain]), read_nested_rings(geometries[~plain]))
    return rings.take(np.argsort(order))


def read_single_rings(polygons: np.ndarray) -> Rings:
    """Read polygons of one ring each without building ring geometries, which would take most of the time."""
    start = to_offsets(shapely.get_num_coordinates(polygons))
    return Rings(shapely.get_coordinates(polygons), start, np.ones(len(polygons)), np.arange(len(polygons) + 1))


def read_nested_rings(geometries: np.ndarray) -> Rings:
    parts, part_of = shapely.get_parts(geometries, return_index=True)
    rings, ring_of = shapely.get_rings(parts, return_index=True)
    begins_part = np.diff(ring_of, prepend=-1) > 0
    counts = np.bincount(part_of[ring_of], minlength=len(geometries))
    start = to_offsets(shapely.get_num_coordinates(rings))
    return Rings(shapely.get_coordinates(rings), start, np.where(begins_part, 1.0, -1.0), to_offsets(counts))


def concatenate_rings(a: Rings, b: Rings) -> Rings:
    return Rings(
        np.concatenate([a.xy, b.xy]),
        np.concatenate([a.start, b.start[1:] + a.start[-1]]),
        np.concatenate([a.sign, b.sign]),
        np.concatenate([a.first, b.first[1:] + a.first[-1]]),
    )


@dataclass(frozen=True, slots=True)
class Measures:
    """What one pass over the rings of n polygons tells."""

    bounds: np.ndarray
    """(n, 4): x0, y0, x1, y1; NaN without rings."""
    area: np.ndarray
    """(n,): shells less holes."""
    proven: np.ndarray
    """(n,) bool: one ring that certainly does not touch itself. The others may be valid too."""


def measure_rings(rings: Rings, to_pixels: np.ndarray) -> tuple[Rings, Measures]:
    """Move the rings into raster pixels, set signs from their orientation there, and measure them."""
    n = len(rings)
    bounds, area, proven = np.full((n, 4), np.nan), np.zeros(n), np.zeros(n, bool)
    xy, sign = np.empty_like(rings.xy), rings.sign.copy()
    arrays = (rings.xy, rings.start, rings.first, to_pixels, xy, sign, bounds, area, proven)
    over_ranges(measure_range, n, *arrays)
    return Rings(xy, rings.start, sign, rings.first), Measures(bounds, area, proven)


@njit(nogil=True)
def measure_range(begin, end, source, start, first, to_pixels, xy, sign, bounds, area, proven):
    for i in range(begin, end):
        for r in range(first[i], first[i + 1]):
            a, b = start[r], start[r + 1]
            for k in range(a, b):
                x, y = source[k, 0], source[k, 1]
                xy[k, 0] = to_pixels[0, 0] * x + to_pixels[0, 1] * y + to_pixels[0, 2]
                xy[k, 1] = to_pixels[1, 0] * x + to_pixels[1, 1] * y + to_pixels[1, 2]
            extend_bounds(bounds[i], xy[a:b])
            enclosed = ring_area(xy[a:b])
            area[i] += sign[r] * abs(enclosed)
            # An edge adds the area to its right: the sum over a ring is minus the integral of x dy.
            sign[r] *= -1.0 if enclosed > 0 else 1.0
        if first[i + 1] - first[i] == 1:
            proven[i] = is_surely_simple(xy[start[first[i]] : start[first[i] + 1]])


@njit(nogil=True)
def extend_bounds(bounds, ring):
    for k in range(len(ring)):
        x, y = ring[k, 0], ring[k, 1]
        # Written so that NaN, the bounds of nothing, gives way.
        bounds[0] = bounds[0] if bounds[0] <= x else x
        bounds[1] = bounds[1] if bounds[1] <= y else y
        bounds[2] = bounds[2] if bounds[2] >= x else x
        bounds[3] = bounds[3] if bounds[3] >= y else y


@njit(nogil=True)
def ring_area(ring):
    """Integrate x dy along the ring, from its first vertex so that far-off rings lose no digits."""
    x0, y0 = ring[0, 0], ring[0, 1]
    twice = 0.0
    for k in range(len(ring) - 1):
        ax, ay = ring[k, 0] - x0, ring[k, 1] - y0
        bx, by = ring[k + 1, 0] - x0, ring[k + 1, 1] - y0
        twice += ax * by - bx * ay
    return twice / 2


@njit(nogil=True)
def is_surely_simple(ring):
    """Return True only if no two edges meet but neighbors at their vertex; False means "ask GEOS", far slower."""
    edges = len(ring) - 1
    if edges < 3:
        return False
    if is_surely_star(ring):
        return True
    if edges > LONGEST_RING_TO_PROVE:
        return False
    for k in range(edges):
        if folds_back(ring, k, (k + 1) % edges):
            return False
        last = edges if k > 0 else edges - 1
        for m in range(k + 2, last):
            if may_meet(ring[k], ring[k + 1], ring[m], ring[m + 1]):
                return False
    return True


@njit(nogil=True)
def is_surely_star(ring):
    """Check whether the ring runs once around the mean of its vertices, as most cells' outlines do."""
    edges = len(ring) - 1
    cx, cy = 0.0, 0.0
    for k in range(edges):
        cx += ring[k, 0] / edges
        cy += ring[k, 1] / edges
    ahead, behind, turns = 0, 0, 0
    for k in range(edges):
        ax, ay, bx, by = ring[k, 0] - cx, ring[k, 1] - cy, ring[k + 1, 0] - cx, ring[k + 1, 1] - cy
        cross = ax * by - bx * ay
        clear = 1e-9 * (abs(ax) + abs(ay)) * (abs(bx) + abs(by))
        ahead += cross > clear
        behind += cross < -clear
        turns += (ay < 0) != (by < 0)
    # Two changes of side are one turn; a ring that winds twice has four.
    return turns == 2 and (ahead == edges or behind == edges)


@njit(nogil=True)
def folds_back(ring, k, m):
    ux, uy = ring[k + 1, 0] - ring[k, 0], ring[k + 1, 1] - ring[k, 1]
    vx, vy = ring[m + 1, 0] - ring[m, 0], ring[m + 1, 1] - ring[m, 1]
    dot, cross = ux * vx + uy * vy, ux * vy - uy * vx
    return not (dot > 0 or abs(cross) > 1e-9 * abs(dot))


@njit(nogil=True, inline="always")
def may_meet(a, b, c, d):
    if max(a[0], b[0]) < min(c[0], d[0]) or max(c[0], d[0]) < min(a[0], b[0]):
        return False
    if max(a[1], b[1]) < min(c[1], d[1]) or max(c[1], d[1]) < min(a[1], b[1]):
        return False
    return not (same_side(a, b, c, d) or same_side(c, d, a, b))


@njit(nogil=True, inline="always")
def same_side(a, b, c, d):
    """Check whether c and d are clearly on one side of the line through a and b."""
    ux, uy = b[0] - a[0], b[1] - a[1]
    cx, cy, dx, dy = c[0] - a[0], c[1] - a[1], d[0] - a[0], d[1] - a[1]
    p, q = ux * cy - uy * cx, ux * dy - uy * dx
    clear = 1e-9 * (abs(ux) + abs(uy)) * (abs(cx) + abs(cy) + abs(dx) + abs(dy))
    return (p > clear and q > clear) or (p < -clear and q < -clear)
