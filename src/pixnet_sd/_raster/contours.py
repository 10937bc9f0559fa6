"""Outlines of labels as polygons that do not overlap. Knows neither torch nor spatialdata."""

from __future__ import annotations

import numpy as np
import shapely
from scipy import ndimage
from skimage.measure import find_contours


def trace_labels(labels: np.ndarray, numbers: np.ndarray, corner_xy: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Return a valid polygon (x, y, in pixels) for each of `numbers`, all of which must be among the labels.

    Outlines pass half-way between a pixel of the object and one that is none, so corners are cut by half a pixel, for
    two neighbors along the same line. Of an object in several pieces, the largest counts.
    """
    boxes = ndimage.find_objects(labels)
    corners = [np.array([boxes[n - 1][1].start, boxes[n - 1][0].start]) + corner_xy for n in numbers]
    pairs = zip(numbers, corners, strict=True)
    return np.array([trace_object(labels[boxes[n - 1]] == n, corner) for n, corner in pairs], dtype=object)


def trace_object(inside: np.ndarray, corner_xy: np.ndarray) -> shapely.Polygon:
    contours = find_contours(np.pad(largest_piece(inside), 1).astype(np.float32), 0.5, fully_connected="low")
    # Minus a pixel of padding, plus half of one, where its center lies.
    rings = (contour[:, ::-1] + (corner_xy - 0.5) for contour in contours)
    outer, *holes = sorted(rings, key=spanned, reverse=True)
    return shapely.Polygon(outer, holes)


def largest_piece(inside: np.ndarray) -> np.ndarray:
    """Return the piece that is largest when pixels connect over their edges; of equal ones, the first."""
    pieces, count = ndimage.label(inside)
    return inside if count == 1 else pieces == np.bincount(pieces.ravel())[1:].argmax() + 1


def spanned(ring: np.ndarray) -> float:
    """Return the area of the box around a ring: greater than that of any ring within."""
    return float(np.prod(np.ptp(ring, axis=0)))
