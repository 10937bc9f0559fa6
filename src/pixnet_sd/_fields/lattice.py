"""Fields on a lattice of nodes over a raster, linear between nodes. numpy and scipy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array

from pixnet_sd._raster.grid import Window

NODES_PER_LENGTH = 2
"""Linear interpolation of such a kernel is off by at most 1/32 of its height (step² / 8 · curvature)."""
REACH = 3.0
"""Standard deviations at which a kernel ends, so that a field is exactly 1 farther from all shapes."""


@dataclass(frozen=True)
class Lattice:
    """Nodes every `step_px` pixels, from the raster's corner beyond its end."""

    height: int
    width: int
    """Of the raster, in pixels."""
    step_px: float

    @classmethod
    def of_length(cls, shape: tuple[int, int], length_px: float) -> Lattice:
        """Make the lattice for kernels of a standard deviation."""
        return cls(*shape, length_px / NODES_PER_LENGTH)

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = (int(np.ceil(side / self.step_px)) + 1 for side in (self.height, self.width))
        return rows, columns

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def weights_at(self, points_xy: np.ndarray) -> csr_array:
        """Compute weights (points, nodes) of linear interpolation; the transpose brings values of points to nodes."""
        (rows, down), (columns, across) = (self.locate(points_xy[:, axis], self.shape[1 - axis]) for axis in (1, 0))
        corner = rows * self.shape[1] + columns
        nodes = np.column_stack([corner, corner + 1, corner + self.shape[1], corner + self.shape[1] + 1])
        up, left = 1 - down, 1 - across
        shares = np.column_stack([up * left, up * across, down * left, down * across])
        start = np.arange(0, nodes.size + 1, 4)
        return csr_array((shares.ravel(), nodes.ravel(), start), shape=(len(points_xy), self.size))

    def locate(self, position_px: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the node before each position, and the share of the way to the next; positions outside are moved in."""
        steps = np.clip(position_px / self.step_px, 0, nodes - 1)
        before = np.minimum(steps.astype(np.int64), nodes - 2)
        return before, steps - before

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """Sum values (nodes, k) around each node under a Gaussian kernel that is 1 at its middle."""
        grids = values.reshape(*self.shape, -1)
        sigma = (NODES_PER_LENGTH, NODES_PER_LENGTH, 0)
        summed = gaussian_filter(grids, sigma, mode="constant", truncate=REACH)
        return (2 * np.pi * NODES_PER_LENGTH**2 * summed).reshape(values.shape)

    def evaluate(self, field: np.ndarray, window: Window) -> np.ndarray:
        """Interpolate (nodes, k) at the pixel centers of a window, as (k, y, x) of float32."""
        down = self.weights_along(window.y0, window.y1, self.shape[0])
        across = self.weights_along(window.x0, window.x1, self.shape[1])
        grids = np.moveaxis(field.reshape(*self.shape, -1), -1, 0).astype(np.float32)
        return down @ grids @ across.T

    def weights_along(self, start: int, stop: int, nodes: int) -> np.ndarray:
        before, share = self.locate(np.arange(start, stop) + 0.5, nodes)
        weights = np.zeros((stop - start, nodes), np.float32)
        pixel = np.arange(stop - start)
        weights[pixel, before], weights[pixel, before + 1] = 1 - share, share
        return weights
