"""Features of a frozen encoder, exactly pooled over measured shapes: the inputs of a regression. Torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._metrics.scores import log_profile
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.ridge import Fold, group_folds
from pixnet_sd.nn.slides import LEAST_SHAPES
from pixnet_sd.nn.training.cache import feature_spread
from pixnet_sd.nn.training.crops import Crop, crop_rows
from pixnet_sd.nn.training.dataset import DENSE_CROPS, ShapeDataset
from pixnet_sd.nn.training.loss import pool_weighted
from pixnet_sd.nn.training.prepare import SlideSets

# A single slide is cut into this many by this many blocks, whose corners are left out in turn.
CUTS = (2, 4)


@dataclass(frozen=True)
class PooledFeatures:
    """All shapes that have counts."""

    features: np.ndarray
    """(S, D) means over each shape."""
    profiles: np.ndarray
    """(S, G) log expression."""
    bounds: np.ndarray
    """(S, 4) of each shape, in pixels of its slide."""
    slide: np.ndarray
    """(S,) number of its slide."""

    def folds(self, apart_px: float) -> list[Fold]:
        """Leave out each slide in turn, or corners of the only one, far from the shapes to fit on.

        Shapes nearer than that to a corner are neither in it nor fitted on, because both share context pixels. A
        corner is a quarter of the slide, or a sixteenth where a quarter leaves too few; empty where that does too.
        """
        if len(np.unique(self.slide)) > 1:
            return group_folds(self.slide)
        for cuts in CUTS:
            folds = self.corner_folds(cuts, apart_px)
            if min(fold.known.sum() for fold in folds) >= LEAST_SHAPES:
                return folds
        return []

    def touching_folds(self) -> list[Fold]:
        """Leave out each quarter of a slide in turn, without a distance."""
        return self.corner_folds(CUTS[0], -np.inf)

    def corner_folds(self, cuts: int, apart_px: float) -> list[Fold]:
        middles = (self.bounds[:, :2] + self.bounds[:, 2:]) / 2
        return [Fold(corner, ~corner & (self.distances(corner) >= apart_px)) for corner in find_corners(middles, cuts)]

    def distances(self, block: np.ndarray) -> np.ndarray:
        """Compute (S,) pixels between each shape and a block, in x or y, whichever is more."""
        low, high = self.bounds[block, :2].min(axis=0), self.bounds[block, 2:].max(axis=0)
        found: np.ndarray = np.maximum(low - self.bounds[:, 2:], self.bounds[:, :2] - high).max(axis=1)
        return found


def pool_slides(network: PixNet, slides: Sequence[SlideSets], device: torch.device | str) -> PooledFeatures:
    """Pool all sets of shapes of all slides."""
    parts = [pool_set(network, dataset, number, device) for number, sets in enumerate(slides) for dataset in sets]
    return PooledFeatures(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def pool_set(network: PixNet, dataset: ShapeDataset, number: int, device: torch.device | str) -> tuple[np.ndarray, ...]:
    """Return features, profiles, bounds and slide number of a set's shapes, those without area or counts left out."""
    measured = dataset.measured
    features = np.full((len(measured.shapes), network.decoder.dim), np.nan)
    for crops, dense, *weights in dense_batches(network, dataset, device):
        features[crop_rows(crops)] = mean_features(dense, *weights)
    profiles = log_profile(measured.counts.toarray(), measured.totals)
    known = np.isfinite(features).all(axis=1) & np.isfinite(profiles).all(axis=1)
    every = features, profiles, measured.shapes.bounds, np.full(len(features), number)
    return tuple(values[known] for values in every)


def pixel_moments(
    network: PixNet, datasets: Sequence[ShapeDataset], device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    """Compute (D,) means and standard deviations over the pixels of all shapes, with equal weight for each shape."""
    sums, shapes = np.zeros((2, network.decoder.dim)), 0
    for dataset in datasets:
        for _, dense, *weights in dense_batches(network, dataset, device):
            pooled = np.stack([mean_features(values, *weights) for values in (dense, dense**2)]).astype(float)
            known = np.isfinite(pooled).all(axis=(0, 2))
            sums, shapes = sums + pooled[:, known].sum(axis=1), shapes + known.sum()
    mean, square = sums / max(shapes, 1)
    return mean, feature_spread(mean, square)


@torch.inference_mode()
def dense_batches(
    network: PixNet, dataset: ShapeDataset, device: torch.device | str
) -> Iterator[tuple[list[Crop], Tensor, Tensor, Tensor]]:
    """Yield some crops with all features of their pixels, and the weights that pool them."""
    for crops in dataset.split(DENSE_CROPS):
        yield crops, network.decoder.dense(dataset.maps(network, crops, device)), *dataset.weights(crops, device)


def mean_features(dense: Tensor, weights: Tensor, area_um2: Tensor) -> np.ndarray:
    """Average (shapes, D) over each shape."""
    means: np.ndarray = (pool_weighted(dense, weights) / area_um2).cpu().numpy()
    return means


def find_corners(places: np.ndarray, cuts: int) -> list[np.ndarray]:
    """Find (S,) bool for each of four corners: of columns at quantiles of x, the outer ones cut at quantiles of y."""
    column = quantile_bins(places[:, 0], cuts)
    found = []
    for outer in (column == 0, column == cuts - 1):
        row = np.full(len(places), -1)
        row[outer] = quantile_bins(places[outer, 1], cuts)
        found += [row == 0, row == cuts - 1]
    return found


def quantile_bins(values: np.ndarray, cuts: int) -> np.ndarray:
    edges = np.nanquantile(values, np.arange(1, cuts) / cuts)
    return np.searchsorted(edges, values)
