"""Sums over shapes made equal to given ones: iterative proportional fitting through exact coverage. Arrays only.

Each pass pools the raster, and multiplies every pixel that a shape touches by the ratio of what it should hold to what
it holds; a pixel that several shapes touch takes their mean, weighted by coverage. Shapes without a common pixel are
exact after one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dask.array as da
import numpy as np

from pixnet_sd._raster.grid import Window
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd._zonal.coverage import coverage
from pixnet_sd._zonal.index import ShapeFinder
from pixnet_sd._zonal.shapes import Shapes

PASSES = 40
EXACT = 1e-7
"""Largest share of its sum by which a shape may be off."""
FLOOR = 1e-12
"""Share of a channel's mean that each pixel holds at least, so that no count falls where the map has nothing."""


@dataclass(frozen=True)
class Spread:
    """Ratios of shapes, brought to the pixels that they cover."""

    shapes: Shapes
    ratios: Sequence[np.ndarray]
    """(shapes, channels) of each pass."""

    def factors(self, window: Window, channels: int) -> np.ndarray:
        """Compute the product of all passes at the pixels of a window, as (channels, y, x)."""
        rows = ShapeFinder(self.shapes.bounds).meeting(window)
        factors = np.ones((channels, window.area))
        if not len(rows):
            return factors.reshape(channels, *window.shape)
        transposed = coverage(self.shapes.take(rows), window).T.tocsr()
        touched = np.asarray(transposed.sum(axis=1)).ravel()
        for ratio in self.ratios:
            factors *= np.where(touched > 0, (transposed @ ratio[rows]).T / np.maximum(touched, FLOOR), 1.0)
        return factors.reshape(channels, *window.shape)


def match_sums(raster: da.Array, shapes: Shapes, sums: np.ndarray) -> tuple[da.Array, float]:
    """Return the raster (c, y, x), lazy, with the sums (shapes, c), and by which share one of them is off at most.

    Shapes off the raster, or where it is NaN, keep what they have.
    """
    raster = raster.rechunk({0: -1}).astype(np.float64)
    ratios: list[np.ndarray] = []
    off = np.inf
    for _ in range(PASSES + 1):
        current = scale_pixels(raster, Spread(shapes, tuple(ratios)))
        pooled = aggregate(current, shapes, progress=False).values
        usable = np.isfinite(pooled) & (pooled > 0)
        off = float(np.max(np.abs(pooled - sums)[usable] / np.maximum(sums, pooled)[usable], initial=0.0))
        if off <= EXACT:
            break
        ratios.append(np.where(usable, sums / np.where(usable, pooled, 1.0), 1.0))
    return current, off


def scale_pixels(raster: da.Array, spread: Spread) -> da.Array:
    """Multiply each block by the factors of its pixels."""
    scaled: da.Array = da.map_blocks(scale_block, raster, spread, dtype=raster.dtype)
    return scaled


def scale_block(block: np.ndarray, spread: Spread, block_info: dict | None = None) -> np.ndarray:
    if not block_info or not block.size:
        return block
    (_, _), (y0, y1), (x0, x1) = block_info[0]["array-location"]
    scaled: np.ndarray = block * spread.factors(Window(y0, x0, y1, x1), len(block))
    return scaled
