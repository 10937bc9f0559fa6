"""Exact overlap of ellipses with pixels, in closed form, without turning them into polygons. numba only.

A pixel seen from the unit circle is a parallelogram; the area of a circle within a polygon is a sum over its edges of
signed triangles and sectors. Pixels wholly inside are found from the chords of their upper and lower edges.
"""

from __future__ import annotations

from math import atan2, ceil, floor, hypot, sqrt

import numpy as np

from pixnet_sd._raster.compiled import njit


@njit(nogil=True)
def ellipse_spans(bounds, ellipses, i, box, noise, place, stride, places, cuts, weights, span, at):
    """Find spans of pixels of the box (y0, x0, y1, x1) that ellipse i overlaps by more than noise.

    Spans are written from `span` on, weights from `at` on; `place` is the box's first pixel. Returns what follows.
    """
    y0, x0, y1, x1 = box
    matrix = ellipses[i]
    cx, cy = (bounds[i, 0] + bounds[i, 2]) / 2 - x0, (bounds[i, 1] + bounds[i, 3]) / 2 - y0
    area = abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
    inverse = np.linalg.inv(matrix)
    for row in range(y1 - y0):
        left, right, inner_left, inner_right = row_extent(matrix, inverse, row - cy)
        inside = False
        for column in range(max(floor(left + cx), 0), min(ceil(right + cx), x1 - x0)):
            weight = 1.0
            if column < inner_left + cx or column + 1 > inner_right + cx:
                weight = min(area * disc_in_pixel(inverse, column - cx, row - cy), 1.0)
            if weight > noise and not inside:
                places[span], cuts[span] = place + column, at
                span += 1
            inside = weight > noise
            weights[at] = weight
            at += inside
        place += stride
    return span, at


@njit(nogil=True)
def row_extent(matrix, inverse, y):
    """Find the extent of an ellipse about the origin in the row y to y + 1, and where it fills the height."""
    upper_left, upper_right = chord_ends(inverse, y)
    lower_left, lower_right = chord_ends(inverse, y + 1)
    left, right = min(upper_left, lower_left), max(upper_right, lower_right)
    reach = hypot(matrix[0, 0], matrix[0, 1])
    y_of_right = (matrix[1, 0] * matrix[0, 0] + matrix[1, 1] * matrix[0, 1]) / reach
    if y < y_of_right < y + 1:
        right = reach
    if y < -y_of_right < y + 1:
        left = -reach
    return left, right, max(upper_left, lower_left), min(upper_right, lower_right)


@njit(nogil=True)
def chord_ends(inverse, y):
    """Find the ends of the ellipse's chord at height y; (inf, -inf), which changes no extent, without one."""
    a = inverse[0, 0] ** 2 + inverse[1, 0] ** 2
    b = inverse[0, 0] * inverse[0, 1] + inverse[1, 0] * inverse[1, 1]
    determinant = inverse[0, 0] * inverse[1, 1] - inverse[0, 1] * inverse[1, 0]
    square = a - (determinant * y) ** 2
    if square <= 0:
        return np.inf, -np.inf
    half = sqrt(square) / a
    return -b / a * y - half, -b / a * y + half


@njit(nogil=True)
def disc_in_pixel(inverse, x, y):
    """Area of the unit disc within the image of the pixel whose upper left corner is (x, y) from the center."""
    ux, uy, vx, vy = inverse[0, 0], inverse[1, 0], inverse[0, 1], inverse[1, 1]
    px, py = ux * x + vx * y, uy * x + vy * y
    qx, qy, rx, ry = px + ux, py + uy, px + vx, py + vy
    sx, sy = qx + vx, qy + vy
    area = disc_under(px, py, qx, qy) + disc_under(qx, qy, sx, sy)
    return abs(area + disc_under(sx, sy, rx, ry) + disc_under(rx, ry, px, py))


@njit(nogil=True)
def disc_under(px, py, qx, qy):
    """Signed area of the unit disc within the triangle (0, p, q)."""
    dx, dy = qx - px, qy - py
    length2, along, cross = dx * dx + dy * dy, px * dx + py * dy, px * qy - py * qx
    # |p + t d| = 1 at t = (-along -+ sqrt(square)) / length2; this form of `square` keeps its digits far from the disc.
    square = length2 - cross * cross
    if square <= 0:
        return sector_area(px, py, qx, qy)
    root = sqrt(square)
    enter, leave = max((-along - root) / length2, 0.0), min((-along + root) / length2, 1.0)
    if enter >= leave:
        return sector_area(px, py, qx, qy)
    area = (leave - enter) * cross / 2
    if enter > 0:
        area += sector_area(px, py, px + enter * dx, py + enter * dy)
    if leave < 1:
        area += sector_area(px + leave * dx, py + leave * dy, qx, qy)
    return area


@njit(nogil=True)
def sector_area(px, py, qx, qy):
    return atan2(px * qy - py * qx, px * qx + py * qy) / 2
