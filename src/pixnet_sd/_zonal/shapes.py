"""Shapes in raster pixels, normalized once here so that the kernels can trust them. numpy, numba and shapely only."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field, replace

import numpy as np
import shapely

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._raster.compiled import njit
from pixnet_sd._zonal.rings import Measures, Rings, empty_rings, measure_rings, read_rings
from pixnet_sd._zonal.threads import in_threads, over_ranges

EMPTY, RECTANGLE, POLYGON, ELLIPSE = range(4)
ROWS_NAMED = 5
"""How many of the offending rows an error names."""

FARTHEST_PX = 2.0**40
"""So far out, floats still tell a quarter of a thousandth of a pixel; no slide has a millionth of that."""

CACHED_GEOMETRIES = 4096
"""GEOS objects lie scattered in memory; about so many stay in a core's cache from one question to the next."""

Geometry = namedtuple("Geometry", "kind bounds area xy start sign first piece extent ellipses")
"""The arrays of `Shapes` as compiled code takes them."""


@dataclass(frozen=True, eq=False, slots=True)
class Shapes:
    """n shapes in the coordinates of a raster's pixels; each is independent of the others."""

    kind: np.ndarray
    """(n,) uint8: EMPTY, RECTANGLE (along the axes: its bounds say all), POLYGON or ELLIPSE."""
    bounds: np.ndarray
    """(n, 4): x0, y0, x1, y1; NaN where empty."""
    area: np.ndarray
    """(n,) in pixels."""
    rings: Rings
    """Those of each shape, none unless it is a polygon; those of 0 shapes without any polygon."""
    ellipses: np.ndarray
    """(n, 2, 2): takes the unit circle to the shape about the middle of its bounds; (0, 2, 2) without any ellipse."""
    repaired: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """Rows whose geometry was invalid and was made valid."""

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def centroid(self) -> np.ndarray:
        """Return centroids (n, 2): x, y; NaN for empty shapes."""
        center = (self.bounds[:, :2] + self.bounds[:, 2:]) / 2
        over_ranges(centroid_range, len(self), self.geometry, center)
        return center

    @property
    def geometry(self) -> Geometry:
        rings = self.rings
        flat = rings.xy, rings.start, rings.sign, rings.first
        return Geometry(self.kind, self.bounds, self.area, *flat, *rings.pieces, self.ellipses)

    def take(self, rows: np.ndarray) -> Shapes:
        """Copy the shapes `rows`, in that order."""
        rows = np.asarray(rows)
        rings = self.rings.take(rows) if len(self.rings) else self.rings
        ellipses = self.ellipses[rows] if len(self.ellipses) else self.ellipses
        repaired = np.flatnonzero(np.isin(rows, self.repaired))
        return Shapes(self.kind[rows], self.bounds[rows], self.area[rows], rings, ellipses, repaired)

    def enlarged(self, factor: float) -> Shapes:
        """Scale each shape around its own center."""
        if factor == 1:
            return self
        middle = (self.bounds[:, :2] + self.bounds[:, 2:]) / 2
        bounds = np.hstack([middle, middle]) * (1 - factor) + self.bounds * factor
        rings = self.rings.enlarged(middle, factor) if len(self.rings) else self.rings
        return Shapes(self.kind, bounds, self.area * factor**2, rings, self.ellipses * factor, self.repaired)

    def scaled(self, factor: float) -> Shapes:
        """Scale the shapes to a raster whose pixels are `factor` times smaller."""
        rings = replace(self.rings, xy=self.rings.xy * factor)
        area, ellipses = self.area * factor**2, self.ellipses * factor
        return Shapes(self.kind, self.bounds * factor, area, rings, ellipses, self.repaired)


def from_polygons(geometries: np.ndarray, to_pixels: np.ndarray) -> Shapes:
    """Read Polygons and MultiPolygons; overlapping parts count once, None and empty ones become empty shapes.

    `to_pixels` is a 3 x 3 matrix on (x, y, 1). Invalid geometries are repaired: a part that crosses itself keeps
    its lobes, what collapses to a line or point falls away, and `repaired` names the rows.
    """
    geometries, to_pixels = np.asarray(geometries, object), check_matrix(to_pixels)
    boxes, is_box = find_boxes(geometries, to_pixels)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    shapes = Shapes(np.where(is_box, RECTANGLE, EMPTY).astype(np.uint8), boxes, area, empty_rings(), empty_ellipses())
    filled = shapes if is_box.all() else fill_polygons(shapes, np.flatnonzero(~is_box), geometries, to_pixels)
    return check_distance(filled)


def from_circles(centers_xy: np.ndarray, radius: np.ndarray | float, to_pixels: np.ndarray) -> Shapes:
    """Make circles, which the matrix maps to exact ellipses. A radius must be positive and finite."""
    centers_xy, to_pixels = np.asarray(centers_xy, float), check_matrix(to_pixels)
    radius = np.broadcast_to(np.asarray(radius, float), len(centers_xy))
    raise_for_rows(~(np.isfinite(radius) & (radius > 0)), "Circles need a positive, finite radius", radius)
    raise_for_rows(~np.isfinite(centers_xy).all(1), "Circles need finite centers", centers_xy)
    linear, shift = to_pixels[:2, :2], to_pixels[:2, 2]
    ellipses = radius[:, None, None] * linear
    # The rows' lengths are the half extents of an ellipse, whatever its axes.
    middle, half = centers_xy @ linear.T + shift, np.hypot(ellipses[:, :, 0], ellipses[:, :, 1])
    area = np.pi * radius**2 * abs(np.linalg.det(linear))
    kind = np.full(len(radius), ELLIPSE, np.uint8)
    return check_distance(Shapes(kind, np.hstack([middle - half, middle + half]), area, empty_rings(), ellipses))


def check_matrix(to_pixels: np.ndarray) -> np.ndarray:
    matrix = np.asarray(to_pixels, float)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not np.array_equal(matrix[2], [0, 0, 1]):
        raise PixnetValueError(f"Need a finite, affine 3 x 3 matrix to pixels on (x, y, 1); got\n{matrix}")
    scale = np.abs(matrix[:2, :2]).max()
    # Relative, because pixels may be tiny in units of the coordinate system, e.g. metres.
    if abs(np.linalg.det(matrix[:2, :2])) <= 1e-14 * scale**2:
        raise PixnetValueError(f"The matrix to pixels is singular, every shape would lose its area; got\n{matrix}")
    return matrix


def check_distance(shapes: Shapes) -> Shapes:
    """Return the shapes if none is so far away that its area has lost its digits."""
    if (
        max(-np.fmin.reduce(shapes.bounds, None, initial=0), np.fmax.reduce(shapes.bounds, None, initial=0))
        > FARTHEST_PX
    ):
        reach = np.abs(shapes.bounds).max(axis=1)
        raise_for_rows(reach > FARTHEST_PX, f"Shapes must lie within {FARTHEST_PX:.2g} px of a raster's corner", reach)
    return shapes


def raise_for_rows(bad: np.ndarray, message: str, found: np.ndarray) -> None:
    """Raise an error that names the first of the rows where `bad`, with what was found in them."""
    rows = np.flatnonzero(bad)
    if rows.size:
        named = ", ".join(f"row {i}: {found[i]}" for i in rows[:ROWS_NAMED])
        more = ", ..." if rows.size > ROWS_NAMED else ""
        raise PixnetValueError(f"{message}; {rows.size} of {len(bad)} do not ({named}{more}). Repair or drop them.")


def empty_ellipses() -> np.ndarray:
    return np.empty((0, 2, 2))


def find_boxes(geometries: np.ndarray, to_pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find geometries that are exactly their bounds: bounds in pixels (NaN for others), and which they are.

    GEOS's own measures tell; no coordinate is copied out, so a million bins take some tens of milliseconds. A ring of
    four vertices whose enclosed area is that of its bounds has its vertices in their corners, in order.
    """
    boxes, is_box = np.full((len(geometries), 4), np.nan), np.zeros(len(geometries), bool)
    # A quarter turn or reflection keeps boxes; any other angle does not.
    along_axes = np.count_nonzero(to_pixels[:2, :2]) == 2
    if along_axes:
        over_ranges(find_boxes_range, len(geometries), geometries, to_pixels, boxes, is_box, smallest=10_000)
    return boxes, is_box


def find_boxes_range(
    start: int, stop: int, geometries: np.ndarray, to_pixels: np.ndarray, boxes: np.ndarray, is_box: np.ndarray
) -> None:
    for first in range(start, stop, CACHED_GEOMETRIES):
        part = slice(first, min(first + CACHED_GEOMETRIES, stop))
        if (candidate := shapely.get_num_coordinates(geometries[part]) == 5).any():
            arrays = candidate, shapely.bounds(geometries[part]), shapely.area(geometries[part]), to_pixels
            settle_boxes(*arrays, boxes[part], is_box[part])


@njit(nogil=True)
def settle_boxes(candidate, bounds, area, to_pixels, boxes, is_box):
    m = to_pixels
    for i in range(len(candidate)):
        x0, y0, x1, y1 = bounds[i]
        enclosed = (x1 - x0) * (y1 - y0)
        is_box[i] = candidate[i] and enclosed > 0 and abs(area[i] - enclosed) <= 1e-12 * enclosed
        if is_box[i]:
            px, qx = m[0, 0] * x0 + m[0, 1] * y0 + m[0, 2], m[0, 0] * x1 + m[0, 1] * y1 + m[0, 2]
            py, qy = m[1, 0] * x0 + m[1, 1] * y0 + m[1, 2], m[1, 0] * x1 + m[1, 1] * y1 + m[1, 2]
            boxes[i] = min(px, qx), min(py, qy), max(px, qx), max(py, qy)


def fill_polygons(shapes: Shapes, rows: np.ndarray, geometries: np.ndarray, to_pixels: np.ndarray) -> Shapes:
    """Put polygons into `rows` of the shapes, which are still empty."""
    rings, measures, repaired = read_polygons(geometries[rows], rows, to_pixels)
    filled = measures.area > 0
    kind, bounds, area = shapes.kind.copy(), shapes.bounds.copy(), np.nan_to_num(shapes.area)
    kind[rows] = np.where(filled, POLYGON, EMPTY)
    bounds[rows] = np.where(filled[:, None], measures.bounds, np.nan)
    area[rows] = np.where(filled, measures.area, 0.0)
    return Shapes(kind, bounds, area, rings.spread(rows, len(shapes)), shapes.ellipses, rows[repaired])


def read_polygons(
    geometries: np.ndarray, rows: np.ndarray, to_pixels: np.ndarray
) -> tuple[Rings, Measures, np.ndarray]:
    """Read rings in pixels, their measures, and which geometries were repaired. `rows` serves messages only."""
    kinds = shapely.get_type_id(geometries)
    if (bad := ~np.isin(kinds, [-1, 3, 6])).any():
        found = [f"row {rows[k]}: {geometries[k].geom_type}" for k in np.flatnonzero(bad)[:ROWS_NAMED]]
        raise PixnetTypeError(f"Shapes must be Polygon or MultiPolygon; {bad.sum()} are not ({', '.join(found)}).")
    rings, measures = measure_rings(read_rings(geometries), to_pixels)
    check_infinite(geometries, rows, rings)
    # GEOS looks at every edge again, so only outlines that were not proven simple are asked.
    asked = np.flatnonzero(~measures.proven)
    repaired = asked[~in_threads(shapely.is_valid, geometries[asked]) & (shapely.get_type_id(geometries[asked]) >= 0)]
    if repaired.size:
        geometries = geometries.copy()
        geometries[repaired] = [make_valid(geometry) for geometry in geometries[repaired]]
        rings, measures = measure_rings(read_rings(geometries), to_pixels)
    return rings, measures, repaired


def check_infinite(geometries: np.ndarray, rows: np.ndarray, rings: Rings) -> None:
    if not np.isfinite(rings.xy).all():
        finite = np.array([np.isfinite(shapely.get_coordinates(geometry)).all() for geometry in geometries])
        named = ", ".join(map(str, rows[~finite][:ROWS_NAMED]))
        raise PixnetValueError(f"Polygons need finite coordinates; {(~finite).sum()} have others (rows {named}).")


def make_valid(geometry: shapely.Geometry) -> shapely.Geometry:
    """Unite the areas that shells enclose, less the holes: self-overlaps are united, not cancelled."""
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


@njit(nogil=True)
def centroid_range(begin, end, geometry, center):
    """Put the centroid in the place of the middle of the bounds, which is right for all but polygons."""
    for i in range(begin, end):
        if geometry.kind[i] == POLYGON:
            x0, y0 = center[i, 0], center[i, 1]
            area, x, y = 0.0, 0.0, 0.0
            for r in range(geometry.first[i], geometry.first[i + 1]):
                ring = geometry.xy[geometry.start[r] : geometry.start[r + 1]]
                for k in range(len(ring) - 1):
                    ax, ay, bx, by = ring[k, 0] - x0, ring[k, 1] - y0, ring[k + 1, 0] - x0, ring[k + 1, 1] - y0
                    # About the middle of the bounds: far from the origin products lose the digits of small shapes.
                    cross = geometry.sign[r] * (ax * by - bx * ay)
                    area += cross
                    x += (ax + bx) * cross / 3
                    y += (ay + by) * cross / 3
            center[i] = x0 + x / area, y0 + y / area
