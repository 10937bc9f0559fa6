"""Split a mask into objects, one for each peak of a height, so that a tile gives what the whole image would.

A watershed spreads from its seeds without end, yet where every peak within the mask is a seed and no two neighbors
are equally high, each pixel goes where its highest neighbor goes: up the steepest path to a peak. So an object that
does not touch the edge of a window is the object of the whole image, and one that is small enough never has to.
Knows neither torch nor spatialdata.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from pixnet_sd._raster.grid import Window

LEVELS = 2**16
"""Steps of height that count; what is equal to within one is ordered by place."""
PERIOD = 1024
"""Pixels after which the order by place repeats. Only neighbors must differ."""
BEYOND = 2
"""Pixels between the largest object and the edge of a window, so that its neighbors are seen as well."""


@dataclass(frozen=True)
class Basins:
    """Objects within a window."""

    labels: np.ndarray
    """(y, x) int32: 0 outside of objects, k for the k-th."""
    seeds_yx: np.ndarray
    """(objects, 2) the pixel of each peak, in the window."""

    def keep(self, which: np.ndarray) -> Basins:
        """Return only some of the objects, by a boolean for each."""
        numbers = np.concatenate([[0], np.cumsum(which) * which]).astype(np.int32)
        return Basins(numbers[self.labels], self.seeds_yx[which])


def split_mask(mask: np.ndarray, height: np.ndarray, corner_yx: tuple[int, int]) -> Basins:
    """Make one object of each local maximum of `height` in `mask` (8 neighbors); `corner_yx` places the window."""
    order = np.where(mask, order_heights(height, corner_yx), -1.0)
    peaks = mask & (order == ndimage.maximum_filter(order, 3, mode="constant", cval=-1.0))
    seeds = np.argwhere(peaks)
    markers = np.zeros(mask.shape, np.int32)
    markers[peaks] = np.arange(1, len(seeds) + 1)
    return Basins(watershed(-order, markers, connectivity=2, mask=mask).astype(np.int32), seeds)


def order_heights(height: np.ndarray, corner_yx: tuple[int, int]) -> np.ndarray:
    """Return heights of at least 0 as whole numbers (float64) that differ between all pixels of a neighborhood."""
    rows, columns = (
        np.arange(corner, corner + size) % PERIOD for corner, size in zip(corner_yx, height.shape, strict=True)
    )
    place = rows[:, None] * PERIOD + columns
    return np.rint(np.maximum(height, 0).astype(np.float64) * LEVELS) * PERIOD**2 + place


def reach_of(basins: Basins) -> np.ndarray:
    """Return (objects,), the farthest that each reaches from its seed, along x or y, in pixels."""
    boxes = ndimage.find_objects(basins.labels, len(basins.seeds_yx))
    low = np.array([[side.start for side in box] for box in boxes]).reshape(-1, 2)
    high = np.array([[side.stop - 1 for side in box] for box in boxes]).reshape(-1, 2)
    return np.maximum(basins.seeds_yx - low, high - basins.seeds_yx).max(axis=1, initial=0)


def are_seeded_in(basins: Basins, core: Window, corner_yx: tuple[int, int]) -> np.ndarray:
    """Tell which objects have their seeds in a window of the image: exactly one of those that partition it."""
    y, x = (basins.seeds_yx + corner_yx).T
    return (y >= core.y0) & (y < core.y1) & (x >= core.x0) & (x < core.x1)
