"""Shapes as few matplotlib collections, so that 200,000 are drawn in seconds. numpy and matplotlib only."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, EllipseCollection, PathCollection, PolyCollection
from matplotlib.path import Path

from pixnet_sd._zonal.shapes import ELLIPSE, POLYGON, RECTANGLE, Shapes

RASTERIZE_ABOVE = 5_000
"""Number of shapes above which a PDF or SVG stores pixels; viewers cannot open files with so many paths."""


def shape_collections(shapes: Shapes, ax: Axes) -> list[tuple[np.ndarray, Collection]]:
    """Add a collection to the axes for each kind of shape; return it with the rows that it draws."""
    makers = {RECTANGLE: draw_rectangles, POLYGON: draw_polygons, ELLIPSE: draw_ellipses}
    by_kind = [(np.flatnonzero(shapes.kind == kind), make) for kind, make in makers.items()]
    made = [(rows, make(shapes, rows, ax)) for rows, make in by_kind if rows.size]
    for rows, collection in made:
        collection.set_rasterized(len(rows) > RASTERIZE_ABOVE)
        ax.add_collection(collection, autolim=False)
    return made


def draw_rectangles(shapes: Shapes, rows: np.ndarray, ax: Axes) -> Collection:
    x0, y0, x1, y1 = shapes.bounds[rows].T
    corners = np.stack([[x0, x1, x1, x0], [y0, y0, y1, y1]], axis=-1).transpose(1, 0, 2)
    return PolyCollection(list(corners))


def draw_polygons(shapes: Shapes, rows: np.ndarray, ax: Axes) -> Collection:
    return PathCollection([polygon_path(shapes, row) for row in rows])


def polygon_path(shapes: Shapes, row: int) -> Path:
    """Return a path whose shells and holes run in opposite directions, so that holes stay empty."""
    rings = shapes.rings
    first, last = rings.first[row], rings.first[row + 1]
    if last - first == 1:
        return Path(rings.xy[rings.start[first] : rings.start[last]])
    # matplotlib fills by the nonzero rule: a hole with the direction of its shell would be filled.
    parts = [
        rings.xy[rings.start[r] : rings.start[r + 1]][:: -1 if rings.sign[r] > 0 else 1] for r in range(first, last)
    ]
    codes = [np.r_[Path.MOVETO, np.full(len(part) - 1, Path.LINETO)] for part in parts]
    return Path(np.concatenate(parts), np.concatenate(codes))


def draw_ellipses(shapes: Shapes, rows: np.ndarray, ax: Axes) -> Collection:
    """Draw transformed circles; singular values of the matrix give axes and angle."""
    turns, axes, _ = np.linalg.svd(shapes.ellipses[rows])
    degrees = np.rad2deg(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
    centers = (shapes.bounds[rows, :2] + shapes.bounds[rows, 2:]) / 2
    long, short = 2 * axes.T
    return EllipseCollection(long, short, degrees, units="xy", offsets=centers, offset_transform=ax.transData)
