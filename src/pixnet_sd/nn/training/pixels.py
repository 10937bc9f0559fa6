"""A few pixels of each measured shape with all that is known of them, for decoders that look at single pixels.

A spot has thousands of pixels that differ little. Sums over a part of them, drawn by the area that the shape covers of
each, are the exact sums on average, and training is tens of times as fast. Torch and numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PixelSamples:
    """Of every shape of a set."""

    features: np.ndarray
    """(shapes, D, M) at the output's stride, in a file."""
    weights: np.ndarray
    """(shapes, M) µm² that each pixel stands for; rows sum to what the shape covers."""

    def read(self, rows: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Features as images of one column, (n, D, M, 1), and weights (n, M)."""
        features = torch.from_numpy(self.features[rows]).to(device).float()
        return features[..., None], torch.from_numpy(self.weights[rows]).to(device)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """(D,) mean and standard deviation over the pixels of all shapes; the latter is 1 for what is constant."""
        shares = self.weights / np.maximum(self.weights.sum(axis=1, keepdims=True), 1e-12)
        known = np.flatnonzero(self.weights.sum(axis=1) > 0)
        sums = np.zeros((2, self.features.shape[1]))
        for row in known:
            values = self.features[row].astype(np.float64)
            sums += values @ shares[row], values**2 @ shares[row]
        mean, square = sums / max(len(known), 1)
        return mean, feature_spread(mean, square)


def feature_spread(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """(D,) standard deviations from means of values and of squares, 1 where a feature is constant."""
    found = np.sqrt(np.maximum(square - mean**2, 0))
    return np.where(found > 1e-4 * (np.abs(mean) + 1), found, 1.0)
