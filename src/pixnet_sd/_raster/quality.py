"""Artifacts on H&E: out of focus, pen, folds, gray dirt and rims of bubbles. numpy and scipy only.

Measured on blocks of 16 x 16 px at 1 µm per pixel, and judged on tiles of several blocks. Focus is a ratio of two bands
of one picture, so that neither staining nor density of the tissue counts: blur takes the finer band first. Colors are
compared with the mixtures that hematoxylin and eosin can make. Folds are dense in relation to the section's median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._raster.stain import optical_density

MPP = 1.0
"""µm per pixel at which the image is looked at."""
BLOCK_PX = 16
MARGIN_PX = 32
"""Reach of the widest Gaussian (four sigma of 4 px), as whole blocks."""
MEASURES = ("tissue", "fine", "middle", "coarse", "density", "pen", "gray")
"""Measures of a block: share of tissue, variance of three bands, mean optical density, shares of pixels."""

SHARPEST_BAND = 0.65
"""Ratio of the bands at 1 and 2 µm below which a tile is blurred. Measured on sharp tissue: 0.68 to 2.0; after a blur
of 1.4 µm (sigma): 0.50 to 0.62. A blur of 1 µm gives 0.61 to 0.92, so a sharp scan may pass with it."""
COARSER_BAND = 0.5
"""The same of the bands at 2 and 4 µm, for blur under the noise of a camera. Sharp: 0.64 to 1.9; after a blur of
2.8 µm: 0.38 to 0.49."""
INK_PX = 4
"""Colors are averaged over so many pixels: a pen is wider, and the noise of single pixels has any color."""
COLORED = 0.15
"""Optical density from which a color is told."""
RED_TO_GREEN = 1.25
"""Density in red light over green: 99.9 % of tissue has up to 1.21, blue and green ink over tissue 1.3 and more."""
BLUE_TO_GREEN = 0.9
"""Density in blue light over green: erythrocytes reach 0.85, red ink has 0.95, brown pigment more."""
GRAY_DENSITY, GRAY_SPREAD = 0.25, 0.2
"""Density, and the spread over the channels in relation to it, of what has no color. Nuclei have a spread of 0.29."""
BLACK_DENSITY = 1.3
"""Mean density from which no color can be told, and which no tissue has."""
FOLD_RATIO, FOLD_DENSITY = 2.0, 0.4
"""Density over the median of the section's tissue, and the least density of a fold."""

TISSUE_SHARE = 0.1
"""Share of tissue from which a tile is judged."""
LIMITS = {"blurred": 0.5, "fold": 0.25, "pen": 0.1, "gray": 0.1}
"""Share of a tile's tissue from which it has the artifact."""


@dataclass(frozen=True)
class TileQuality:
    """What was found on each tile, row by row; arrays are (y, x)."""

    tissue: np.ndarray
    """Share of tissue."""
    sharpness: np.ndarray
    """Ratio of the two finest bands; NaN where there is no tissue."""
    shares: dict[str, np.ndarray]
    """Share of the tile's tissue that has each artifact of `LIMITS`."""

    @property
    def judged(self) -> np.ndarray:
        return self.tissue >= TISSUE_SHARE

    @property
    def artifact(self) -> np.ndarray:
        """Name the artifact that is farthest above its limit; "none" where none is."""
        excess = np.stack([share / LIMITS[name] for name, share in self.shares.items()])
        names = np.array([*self.shares], object)[excess.argmax(axis=0)]
        return np.where(excess.max(axis=0) >= 1, names, "none")


def measure_blocks(picture: Picture, window: Window, tissue: np.ndarray) -> np.ndarray:
    """Compute (measures, y, x) of the blocks of a window; `tissue` is the share of it on each block."""
    rgb = read_with_margin(picture, window)
    density = optical_density(rgb)
    inner = slice(MARGIN_PX, -MARGIN_PX)
    core = density[:, inner, inner]
    bands = [block_means(band[inner, inner] ** 2, BLOCK_PX) for band in split_bands(density.mean(axis=0))]
    colors = np.stack([block_means(channel, INK_PX) for channel in core])
    masks = [block_means(mask, BLOCK_PX // INK_PX) for mask in (is_ink(colors), is_gray(colors))]
    return np.stack([tissue, *bands, block_means(core.mean(axis=0), BLOCK_PX), *masks]).astype(np.float32)


def read_with_margin(picture: Picture, window: Window) -> np.ndarray:
    """Read a window and its margin; beyond the picture its edge is repeated, since white would be a sharp line."""
    wide = window.grow(MARGIN_PX)
    inside = wide.clip(picture.grid.window)
    before = (inside.y0 - wide.y0, inside.x0 - wide.x0)
    after = (wide.y1 - inside.y1, wide.x1 - inside.x1)
    return np.pad(picture.read(inside), ((0, 0), *zip(before, after, strict=True)), mode="edge")


def split_bands(gray: np.ndarray) -> list[np.ndarray]:
    """Split into details of about 1, 2 and 4 px."""
    levels = [gray, *(ndimage.gaussian_filter(gray, sigma) for sigma in (1, 2, 4))]
    return [finer - coarser for finer, coarser in zip(levels, levels[1:], strict=False)]


def block_means(values: np.ndarray, side: int) -> np.ndarray:
    height, width = values.shape
    return values.reshape(height // side, side, width // side, side).mean(axis=(1, 3))


def is_ink(density: np.ndarray) -> np.ndarray:
    """Mark colors (c, y, x) that no mixture of hematoxylin and eosin has."""
    red, green, blue = density
    foreign = (red > RED_TO_GREEN * green) | (blue > BLUE_TO_GREEN * green)
    return (density.max(axis=0) > COLORED) & foreign & ~is_gray(density)


def is_gray(density: np.ndarray) -> np.ndarray:
    mean = density.mean(axis=0)
    return (mean > BLACK_DENSITY) | ((mean > GRAY_DENSITY) & (np.ptp(density, axis=0) < GRAY_SPREAD * mean))


def judge_tiles(blocks: np.ndarray, side: int) -> TileQuality:
    """Judge tiles of `side` x `side` blocks; measures of a tile are means over its tissue."""
    measures = dict(zip(MEASURES, blocks, strict=True))
    weights = measures["tissue"]
    tissue = sum_tiles(weights, side)
    means = {name: divide(sum_tiles(values * weights, side), tissue) for name, values in measures.items()}
    sharpness = np.sqrt(divide(means["fine"], means["middle"]))
    coarser = np.sqrt(divide(means["middle"], means["coarse"]))
    blurred = (sharpness < SHARPEST_BAND) | (coarser < COARSER_BAND)
    fold = divide(sum_tiles(find_folds(measures["density"], weights) * weights, side), tissue)
    shares = {"blurred": blurred, "fold": fold, "pen": means["pen"], "gray": means["gray"]}
    known = {name: np.nan_to_num(share).astype(np.float32) for name, share in shares.items()}
    return TileQuality(tissue / side**2, sharpness, known)


def find_folds(density: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """Mark blocks that are dense for this section, after a median that takes out single ones."""
    on = tissue > 0.5
    if not on.any():
        return on
    limit = max(FOLD_DENSITY, FOLD_RATIO * float(np.median(density[on])))
    return ndimage.median_filter(density, 3, mode="nearest") > limit


def sum_tiles(values: np.ndarray, side: int) -> np.ndarray:
    """Sum squares of blocks; the last ones may be partial."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % side), (0, -width % side)))
    rows, columns = (n // side for n in padded.shape)
    return padded.reshape(rows, side, columns, side).sum(axis=(1, 3))


def divide(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Divide; NaN where the divisor is 0."""
    return np.divide(values, by, out=np.full(by.shape, np.nan, np.float32), where=by > 0)
