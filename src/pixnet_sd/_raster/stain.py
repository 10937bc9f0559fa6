"""Optical density of H&E images, and the hematoxylin and eosin in it. Arrays only (numpy), axes (c, y, x).

Beer and Lambert: light that passes a stain of concentration c leaves as 10^(-c v), v being the stain's absorption of
red, green and blue. So densities add where intensities do not, and two known stains come apart by least squares.
Vectors: Ruifrok and Johnston, Anal. Quant. Cytol. Histol. 23:291 (2001), scaled to unit length.
"""

import numpy as np

from pixnet_sd._errors import PixnetTypeError, PixnetValueError

HEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)
LEVELS = 256


def unit_rows(vectors: object) -> np.ndarray:
    rows = np.asarray(vectors, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


STAINS = unit_rows([HEMATOXYLIN, EOSIN])


def optical_density(rgb_cyx: np.ndarray) -> np.ndarray:
    """Compute -log10((v + 1) / 256) of each uint8 v, float32: 0 for white (255), 2.41 for black (0)."""
    check_rgb_array(rgb_cyx)
    density = -np.log10((np.arange(LEVELS) + 1) / LEVELS)
    # A table of 256 values instead of a logarithm for each pixel.
    return density.astype(np.float32)[rgb_cyx]


def separate_stains(rgb_cyx: np.ndarray, stains: np.ndarray = STAINS) -> np.ndarray:
    """Compute concentrations (stain, y, x), float32, that explain the optical density best (least squares).

    `stains` has one unit vector a row. Values may be slightly negative: colors that no mixture of the stains has.
    """
    weights = np.linalg.pinv(stains.T).astype(np.float32)
    return np.einsum("sc,cyx->syx", weights, optical_density(rgb_cyx))


def compose_rgb(h: np.ndarray, e: np.ndarray, stains: np.ndarray = STAINS) -> np.ndarray:
    """Compose uint8 RGB (3, y, x) from hematoxylin `h` and eosin `e`, each (y, x)."""
    if h.shape != e.shape:
        raise PixnetValueError(f"Both stains must cover the same pixels; got {h.shape} and {e.shape}.")
    return from_density(mix_stains(h, e, stains))


def mix_stains(h: np.ndarray, e: np.ndarray, stains: np.ndarray = STAINS) -> np.ndarray:
    """Optical density (3, y, x), float32, of the concentrations `h` and `e`."""
    of_h, of_e = stains.astype(np.float32)[:, :, None, None]
    return of_h * h + of_e * e


def from_density(density: np.ndarray, noise: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the uint8 intensities nearest to an optical density, after `noise` (in levels) is added."""
    intensity = LEVELS * np.exp(density.astype(np.float32) * np.float32(-np.log(10))) - 1 + noise
    return np.clip(np.rint(intensity), 0, LEVELS - 1).astype(np.uint8)


def check_rgb_array(rgb_cyx: np.ndarray) -> None:
    if rgb_cyx.dtype != np.uint8:
        raise PixnetTypeError(f"Optical density is defined on uint8 RGB; got {rgb_cyx.dtype}. Rescale to 0..255 first.")
    if rgb_cyx.ndim != 3 or rgb_cyx.shape[0] != 3:
        raise PixnetValueError(f"Expected an RGB image of axes (c, y, x) with 3 channels; got shape {rgb_cyx.shape}.")
