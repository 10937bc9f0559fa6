"""From nuclei to pixels and to polygons: one formula for the outline serves both. numpy, numba and shapely only."""

from typing import NamedTuple

import numpy as np
import shapely

from pixnet_sd._raster.compiled import njit
from pixnet_sd._raster.grid import Window
from pixnet_sd.datasets._synthetic.nuclei import REACH, Nuclei

VERTICES = 20


class NearestCells(NamedTuple):
    """Planes (y, x) that say whose cell a pixel lies in."""

    radius: np.ndarray
    """Distance from the nearest nucleus' center, 1 on its outline; `REACH` where no cell reaches."""
    runner_up: np.ndarray
    """The same to the second nearest nucleus: equal on the border between two cells."""
    owner: np.ndarray
    """Row of the nearest nucleus; -1 where no cell reaches."""
    nucleolus_um: np.ndarray
    """Distance from the nucleolus of the nearest nucleus."""


@njit(nogil=True)
def relative_radius(form, dy, dx):
    """Distance from a nucleus' center as a multiple of its outline's in that direction."""
    u, v = (dx * form[3] + dy * form[2]) / form[0], (dy * form[3] - dx * form[2]) / form[1]
    square = u * u + v * v
    if square < 1e-12:
        return 0.0
    q = np.sqrt(square)
    two = (form[4] * (u * u - v * v) + form[5] * 2 * u * v) / square
    three = (form[6] * (u * u * u - 3 * u * v * v) + form[7] * (3 * u * u * v - v * v * v)) / (square * q)
    return q / (1.0 + two + three)


@njit(nogil=True)
def stamp_nuclei(y_um, x_um, form, y0, x0, height, width, mpp):
    radius = np.full((height, width), REACH, np.float32)
    runner_up = np.full((height, width), REACH, np.float32)
    owner = np.full((height, width), -1, np.int32)
    nucleolus_um = np.full((height, width), np.inf, np.float32)
    for k in range(len(y_um)):
        # The box of the reach: half-widths of a turned ellipse, a little more for the ripples.
        a, b, sine, cosine = form[k, 0], form[k, 1], form[k, 2], form[k, 3]
        half_y, half_x = 1.2 * REACH * np.hypot(a * sine, b * cosine), 1.2 * REACH * np.hypot(a * cosine, b * sine)
        top, low = int((y_um[k] - half_y) / mpp) - y0 - 1, int((y_um[k] + half_y) / mpp) - y0 + 2
        left, right = int((x_um[k] - half_x) / mpp) - x0 - 1, int((x_um[k] + half_x) / mpp) - x0 + 2
        for i in range(max(top, 0), min(low, height)):
            dy = (y0 + i + 0.5) * mpp - y_um[k]
            for j in range(max(left, 0), min(right, width)):
                dx = (x0 + j + 0.5) * mpp - x_um[k]
                t = relative_radius(form[k], dy, dx)
                if t < radius[i, j]:
                    runner_up[i, j], radius[i, j], owner[i, j] = radius[i, j], t, k
                    nucleolus_um[i, j] = np.hypot(dy - form[k, 8], dx - form[k, 9])
                elif t < runner_up[i, j]:
                    runner_up[i, j] = t
    return radius, runner_up, owner, nucleolus_um


def nearest_cells(nuclei: Nuclei, window: Window, mpp: float) -> NearestCells:
    placed = (window.y0, window.x0, window.height, window.width, mpp)
    return NearestCells(*stamp_nuclei(nuclei.y_um, nuclei.x_um, nuclei.form, *placed))


def outlines_um(nuclei: Nuclei) -> np.ndarray:
    """(n, VERTICES, 2) places (x, y) on the nuclei's outlines, in order around each."""
    turn = 2 * np.pi * np.arange(VERTICES) / VERTICES
    harmonics = np.stack([np.cos(2 * turn), np.sin(2 * turn), np.cos(3 * turn), np.sin(3 * turn)])
    r = 1.0 + nuclei.form[:, 4:8] @ harmonics
    u, v = nuclei.form[:, :1] * r * np.cos(turn), nuclei.form[:, 1:2] * r * np.sin(turn)
    sine, cosine = nuclei.form[:, 2:3], nuclei.form[:, 3:4]
    x, y = nuclei.x_um[:, None] + u * cosine - v * sine, nuclei.y_um[:, None] + u * sine + v * cosine
    return np.stack([x, y], axis=-1)


def whole_outlines_px(nuclei: Nuclei, within: Window, image: Window, mpp: float) -> tuple[np.ndarray, np.ndarray]:
    """Polygons of the nuclei centered in `within`, and their rows; those cut by the image's border are left out."""
    y, x = nuclei.y_um / mpp, nuclei.x_um / mpp
    rows = np.flatnonzero((y >= within.y0) & (y < within.y1) & (x >= within.x0) & (x < within.x1))
    points = outlines_um(nuclei.subset(rows)) / mpp
    inside = (points >= (image.x0, image.y0)) & (points <= (image.x1, image.y1))
    whole = inside.all(axis=(1, 2))
    return shapely.polygons(points[whole]), rows[whole]
