"""Shapes as matplotlib collections: one for all, so that 200,000 draw in seconds. numpy and matplotlib only."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, EllipseCollection, PathCollection, PolyCollection
from matplotlib.path import Path

from pixnet_sd._zonal.shapes import ELLIPSE, POLYGON, RECTANGLE, Shapes

RASTERISED_FROM = 5_000
"""Shapes above which a PDF or SVG holds them as pixels; as paths such a file would not open."""


def shape_collections(shapes: Shapes, ax: Axes) -> list[tuple[np.ndarray, Collection]]:
    """For each kind of shape the rows that have it, and a collection of these in that order."""
    makers = {RECTANGLE: draw_rectangles, POLYGON: draw_polygons, ELLIPSE: draw_ellipses}
    by_kind = [(np.flatnonzero(shapes.kind == kind), make) for kind, make in makers.items()]
    made = [(rows, make(shapes, rows, ax)) for rows, make in by_kind if rows.size]
    for rows, collection in made:
        collection.set_rasterized(len(rows) > RASTERISED_FROM)
        ax.add_collection(collection, autolim=False)
    return made


def draw_rectangles(shapes: Shapes, rows: np.ndarray, ax: Axes) -> Collection:
    x0, y0, x1, y1 = shapes.bounds[rows].T
    corners = np.stack([[x0, x1, x1, x0], [y0, y0, y1, y1]], axis=-1).transpose(1, 0, 2)
    return PolyCollection(list(corners))


def draw_polygons(shapes: Shapes, rows: np.ndarray, ax: Axes) -> Collection:
    return PathCollection([polygon_path(shapes, row) for row in rows])


def polygon_path(shapes: Shapes, row: int) -> Path:
    """Shells one way round and holes the other, so that holes stay open."""
    rings = shapes.rings
    first, last = rings.first[row], rings.first[row + 1]
    if last - first == 1:
        return Path(rings.xy[rings.start[first] : rings.start[last]])
    parts = [
        rings.xy[rings.start[r] : rings.start[r + 1]][:: -1 if rings.sign[r] > 0 else 1] for r in range(first, last)
    ]
    codes = [np.r_[Path.MOVETO, np.full(len(part) - 1, Path.LINETO)] for part in parts]
    return Path(np.concatenate(parts), np.concatenate(codes))


def draw_ellipses(shapes: Shapes, rows: np.ndarray, ax: Axes) -> Collection:
    """What the matrix makes of circles: axes and angle by its singular values."""
    turns, axes, _ = np.linalg.svd(shapes.ellipses[rows])
    degrees = np.rad2deg(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
    centres = (shapes.bounds[rows, :2] + shapes.bounds[rows, 2:]) / 2
    long, short = 2 * axes.T
    return EllipseCollection(long, short, degrees, units="xy", offsets=centres, offset_transform=ax.transData)
