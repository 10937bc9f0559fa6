"""What a window of a section holds besides nuclei: anatomy and texture, a plane each. numpy and numba only."""

from typing import NamedTuple

import numpy as np

from pixnet_sd._raster.compiled import njit
from pixnet_sd._raster.grid import Window
from pixnet_sd.datasets._synthetic.anatomy import (
    GLASS_UM,
    Plan,
    anatomy_at,
    edge_distance,
    fibre_coordinates,
    gland_table,
    smooth_step,
)
from pixnet_sd.datasets._synthetic.noise import fractal_noise, smooth_noise

SMEAR_EDGE_UM = -12.0


class Fields(NamedTuple):
    """Planes (y, x) of a window."""

    edge: np.ndarray
    """Distance from the outline in µm, positive in tissue."""
    depth: np.ndarray
    """Depth in a gland in µm; minus the distance from the nearest gland outside."""
    wall: np.ndarray
    """Thickness of the gland's epithelium in µm: deeper is lumen."""
    secretion: np.ndarray
    """How much the gland secretes, in [0, 1]."""
    nest: np.ndarray
    """Depth in a nest of tumour cells in µm."""
    lymph: np.ndarray
    """Density of lymphocytes in [0, 1]."""
    fibre: np.ndarray
    """Collagen in the stroma, in [0, 1]: bundles, fibrils and the clefts between them."""
    grain: np.ndarray
    """Texture of cytoplasm, 2 to 6 µm, standard deviation about 0.4."""
    chromatin: np.ndarray
    """Texture of chromatin, about 1 µm, standard deviation about 0.4."""
    cloud: np.ndarray
    """Soft variation over about 300 µm, standard deviation about 0.4."""
    smear: np.ndarray
    """Eosin left on the glass."""


@njit(nogil=True)
def collagen_density(plan, depth, y, x):
    seed = plan.seed + 81
    across, along = fibre_coordinates(plan, depth, y, x)
    bundle = smooth_noise(across / 11.0, along / 75.0, 1.0, seed)
    strand = smooth_noise(across / 4.2, along / 38.0, 1.0, seed + 1)
    frayed = across + 0.7 * smooth_noise(x, y, 4.0, seed + 5)
    fibril = smooth_noise(frayed / 2.0, along / 16.0, 1.0, seed + 2) + 0.7 * smooth_noise(
        frayed / 1.0, along / 7.0, 1.0, seed + 6
    )
    cleft = smooth_step(
        0.34, 0.60, smooth_noise(frayed / 5.5, along / 30.0, 1.0, seed + 3) + 0.22 * smooth_noise(x, y, 3.0, seed + 4)
    )
    body = min(max(0.54 + 0.26 * bundle + 0.26 * strand + 0.34 * fibril, 0.0), 1.0)
    return body * (1.0 - 0.92 * cleft)


@njit(nogil=True)
def smear_on_glass(plan, edge, y, x):
    streak = smooth_noise(x / 3.0 + y / 9.0, y / 3.0, 0.06 * min(plan.macro, 900.0), plan.seed + 91)
    patch = fractal_noise(x, y, 0.6 * min(plan.macro, 900.0), 4, plan.seed + 92)
    film = 0.6 + 0.4 * streak + 0.25 * smooth_noise(x, y, 3.0, plan.seed + 93)
    return smooth_step(0.45, 0.75, patch) * max(film, 0.0) * smooth_step(0.0, SMEAR_EDGE_UM, edge)


@njit(nogil=True)
def survey_tissue(plan, y, x, planes):
    depth, seed = planes[1], plan.seed + 95
    planes[6] = collagen_density(plan, depth, y, x) if depth < 3.0 and planes[4] < 5.0 else 0.5
    planes[7] = 0.8 * smooth_noise(x, y, 5.0, seed) + 0.7 * smooth_noise(x, y, 2.2, seed + 1)
    planes[8] = 0.9 * smooth_noise(x, y, 1.7, seed + 2) + 0.6 * smooth_noise(x, y, 0.9, seed + 3)
    planes[9] = (
        0.8 * smooth_noise(x, y, 1500.0, seed + 6)
        + 0.8 * smooth_noise(x, y, 320.0, seed + 4)
        + 0.4 * smooth_noise(x, y, 90.0, seed + 5)
    )
    planes[10] = 0.0


@njit(nogil=True)
def survey_window(plan, glands, y0, x0, height, width, mpp):
    planes = np.empty((11, height, width), np.float32)
    here = np.empty(11)
    for i in range(height):
        y = (y0 + i + 0.5) * mpp
        for j in range(width):
            x = (x0 + j + 0.5) * mpp
            here[:] = 0.0
            here[:6] = anatomy_at(plan, glands, y, x)
            if here[0] > GLASS_UM:
                survey_tissue(plan, y, x, here)
            else:
                here[10] = smear_on_glass(plan, here[0], y, x)
            planes[:, i, j] = here
    return planes


@njit(nogil=True)
def edge_window(plan, y0, x0, height, width, mpp):
    edge = np.empty((height, width), np.float32)
    for i in range(height):
        for j in range(width):
            edge[i, j] = edge_distance(plan, (y0 + i + 0.5) * mpp, (x0 + j + 0.5) * mpp)
    return edge


def edge_of(plan: Plan, window: Window, mpp: float) -> np.ndarray:
    """Return the first plane of `survey` alone."""
    return edge_window(plan, window.y0, window.x0, window.height, window.width, mpp)


def sample_fields(plan: Plan, window: Window, mpp: float) -> Fields:
    """All planes of a window; its pixels are sampled at their centers."""
    glands = gland_table(plan, window.y0 * mpp, window.x0 * mpp, window.y1 * mpp, window.x1 * mpp)
    return Fields(*survey_window(plan, glands, window.y0, window.x0, window.height, window.width, mpp))
