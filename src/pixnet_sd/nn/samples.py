"""A few pixels of each measured shape with all that is known of them, for decoders that look at single pixels.

A spot has thousands of pixels that differ little. Sums over a part of them, drawn by the area that the shape covers of
each, are the exact sums on average, and training is tens of times as fast. Torch and numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pixnet_sd.nn.cache import PRECISION
from pixnet_sd.nn.crops import crop_weights
from pixnet_sd.nn.material import Material
from pixnet_sd.nn.network import PixNet
from pixnet_sd.nn.readout import Readout

BATCH = 16
"""Crops whose features are in memory at once."""


@dataclass(frozen=True)
class Samples:
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
        known = self.weights.sum(axis=1) > 0
        mean, square = (self.mean_of(power, shares, known) for power in (1, 2))
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        return mean, np.where(spread > 1e-4 * (np.abs(mean) + 1), spread, 1.0)

    def mean_of(self, power: int, shares: np.ndarray, known: np.ndarray) -> np.ndarray:
        total = np.zeros(self.features.shape[1])
        for row in np.flatnonzero(known):
            total += self.features[row].astype(np.float64) ** power @ shares[row]
        return total / max(known.sum(), 1)


@torch.inference_mode()
def draw_samples(
    network: PixNet, readout: Readout, material: Material, most: int, path: Path, device: torch.device | str
) -> Samples:
    """All pixels of shapes that have few, with their exact weights, and `most` of the others."""
    count = min(most, most_pixels(material))
    shapes = len(material.measured.shapes)
    features = np.lib.format.open_memmap(path, "w+", PRECISION, (shapes, readout.dim, count))
    weights = np.zeros((shapes, count), np.float32)
    for start in range(0, len(material.crops), BATCH):
        batch = material.batch(material.crops[start : start + BATCH])
        dense = readout.dense(material.maps(network, batch.crops, device)).movedim(1, 0).flatten(1)
        for row, own in zip(batch.rows, rows_of(batch.weights), strict=True):
            pixels, weights[row] = choose(*own, count)
            features[row] = dense[:, torch.from_numpy(pixels).to(dense.device)].cpu().numpy()
    return Samples(features, weights)


def most_pixels(material: Material) -> int:
    """The largest number of pixels that a shape touches."""
    counts = [np.diff(crop_weights(material.scaled, [crop], material.stride).indptr).max() for crop in material.crops]
    return int(max(counts))


def rows_of(weights: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and weights of each row of a sparse matrix."""
    csr = sp.csr_array((weights.values().numpy(), weights.col_indices().numpy(), weights.crow_indices().numpy()))
    return [(csr.indices[a:b], csr.data[a:b]) for a, b in zip(csr.indptr, csr.indptr[1:], strict=False)]


def choose(pixels: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pixels and what each stands for: all of them where they are no more, else evenly along their area."""
    if len(pixels) <= count:
        unused = (0, count - len(pixels))
        return np.pad(pixels, unused), np.pad(weights, unused)
    area = np.cumsum(weights, dtype=np.float64)
    places = np.searchsorted(area, (np.arange(count) + 0.5) / count * area[-1])
    return pixels[places.clip(max=len(pixels) - 1)], np.full(count, area[-1] / count, np.float32)
