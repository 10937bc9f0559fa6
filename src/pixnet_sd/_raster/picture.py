"""A picture at a stated size of pixel, read by window from a lazy array. numpy, numba and dask only.

What is read does not depend on how a picture is cut into windows, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np

from pixnet_sd._dask import load_lazy
from pixnet_sd._raster.compiled import njit
from pixnet_sd._raster.grid import PixelGrid, Window

WHITE = 255


@dataclass(frozen=True)
class Picture:
    """An RGB picture, resampled when it is read: each pixel is the mean of what it covers.

    Where the wanted pixels are smaller than those there are, it is their linear interpolation.
    """

    data: da.Array
    """(3, y, x): uint8, or float from 0 to 1."""
    step: tuple[float, float] = (1.0, 1.0)
    """Size of a wanted pixel (x, y) in pixels of `data`."""

    @property
    def grid(self) -> PixelGrid:
        """Return the grid in pixels of `data`; the last pixels may reach over its edge."""
        # Rounding must not add a pixel: 2.1 / 0.7 is 3.0000000000000004.
        height, width = (
            max(1, int(np.ceil(n / s - 1e-6))) for n, s in zip(self.data.shape[1:], self.step[::-1], strict=True)
        )
        return PixelGrid(height, width, self.step)

    def read(self, window: Window) -> np.ndarray:
        """Read (3, y, x) uint8 of a window, which may reach outside: there it is white."""
        needed = self.needed(window)
        inside = needed.clip(Window(0, 0, *self.data.shape[1:]))
        block = np.full((3, *needed.shape), WHITE, np.uint8 if self.data.dtype == np.uint8 else np.float32)
        if inside.area:
            rows, columns = inside.relative_to(needed).slices
            part = load_lazy(self.data[:, *inside.slices], scheduler="synchronous")
            block[:, rows, columns] = part if block.dtype == np.uint8 else part * WHITE
        if self.step == (1.0, 1.0):
            return block if block.dtype == np.uint8 else np.rint(block).astype(np.uint8)
        return box_means(block, (needed.y0, needed.x0), (window.y0, window.x0), window.shape, self.step)

    def needed(self, window: Window) -> Window:
        """Return the pixels of `data` that a window is made of."""
        (sx, sy), reach = self.step, 0 if self.step == (1.0, 1.0) else 1
        return Window(
            int(np.floor(window.y0 * sy)) - reach,
            int(np.floor(window.x0 * sx)) - reach,
            int(np.ceil(window.y1 * sy)) + reach,
            int(np.ceil(window.x1 * sx)) + reach,
        )


@njit(nogil=True)
def box_means(block, block_corner, corner, shape, step):
    """Average boxes as large as a wanted pixel, but not smaller than one of the block's pixels."""
    out = np.empty((block.shape[0], shape[0], shape[1]), np.uint8)
    for i in range(shape[0]):
        y0, y1 = box_sums(corner[0] + i, step[1])
        for j in range(shape[1]):
            x0, x1 = box_sums(corner[1] + j, step[0])
            for c in range(block.shape[0]):
                total = 0.0
                for y in range(int(np.floor(y0)), int(np.ceil(y1))):
                    row = 0.0
                    for x in range(int(np.floor(x0)), int(np.ceil(x1))):
                        row += (min(x1, x + 1) - max(x0, x)) * block[c, y - block_corner[0], x - block_corner[1]]
                    total += (min(y1, y + 1) - max(y0, y)) * row
                out[c, i, j] = int(np.rint(total / ((y1 - y0) * (x1 - x0))))
    return out


@njit(nogil=True)
def box_sums(index, step):
    middle, half = (index + 0.5) * step, max(step, 1.0) / 2
    return middle - half, middle + half
