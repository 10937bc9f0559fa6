"""Features of a frozen encoder, exactly pooled over measured shapes: what a regression sees. Torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._metrics.scores import log_profile
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.pixelwise import Fold, Readout, group_folds
from pixnet_sd.nn.slides import LEAST_SHAPES
from pixnet_sd.nn.training.dataset import DENSE_CROPS, Batch, ShapeDataset
from pixnet_sd.nn.training.loss import pool_weighted
from pixnet_sd.nn.training.pixels import feature_spread
from pixnet_sd.nn.training.prepare import Prepared

CUTS = (2, 4)
"""A slide on its own is cut into this many by this many blocks, whose corners are left out in turn."""


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
        """Slides left out in turn, or the corners of the only one, far from what is learnt from.

        Shapes nearer than that to a corner are neither in it nor learnt from, because both see the same pixels. A
        corner is a quarter of the slide, or a sixteenth where a quarter leaves too few; empty where that does too.
        """
        if len(np.unique(self.slide)) > 1:
            return group_folds(self.slide)
        for cuts in CUTS:
            folds = self.corner_folds(cuts, apart_px)
            if min(fold.known.sum() for fold in folds) >= LEAST_SHAPES:
                return folds
        return []

    def touching(self) -> list[Fold]:
        """Quarters of a slide, each left out in turn with all others known."""
        return self.corner_folds(CUTS[0], -np.inf)

    def corner_folds(self, cuts: int, apart_px: float) -> list[Fold]:
        middles = (self.bounds[:, :2] + self.bounds[:, 2:]) / 2
        return [Fold(corner, ~corner & (self.gap(corner) >= apart_px)) for corner in corners(middles, cuts)]

    def gap(self, block: np.ndarray) -> np.ndarray:
        """(S,) pixels between each shape and a block, in x or y, whichever is more."""
        low, high = self.bounds[block, :2].min(axis=0), self.bounds[block, 2:].max(axis=0)
        gaps: np.ndarray = np.maximum(low - self.bounds[:, 2:], self.bounds[:, :2] - high).max(axis=1)
        return gaps


def pool_slides(
    network: PixNet,
    readout: Readout,
    slides: Sequence[Prepared],
    device: torch.device | str,
) -> PooledFeatures:
    """All sets of shapes of all slides."""
    parts = [
        pool_set(network, readout, material, number, device) for number, sets in enumerate(slides) for material in sets
    ]
    return PooledFeatures(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def pool_set(
    network: PixNet, readout: Readout, material: ShapeDataset, number: int, device: torch.device | str
) -> tuple[np.ndarray, ...]:
    measured = material.measured
    features = pooled_features(network, readout, material, device)
    profiles = log_profile(measured.counts.toarray(), measured.totals)
    known = np.isfinite(features).all(axis=1) & np.isfinite(profiles).all(axis=1)
    every = features, profiles, measured.shapes.bounds, np.full(len(features), number)
    return tuple(values[known] for values in every)


def pooled_features(
    network: PixNet, readout: Readout, material: ShapeDataset, device: torch.device | str
) -> np.ndarray:
    """(shapes, D): the exact means of every feature; NaN where a shape has no area."""
    means = np.full((len(material.measured.shapes), readout.dim), np.nan)
    for batch, dense in dense_batches(network, readout, material, device):
        means[batch.rows] = mean_features(dense, batch)
    return means


def pixel_moments(
    network: PixNet, readout: Readout, slides: Sequence[Prepared], device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    """(D,) twice: means and standard deviations over the pixels of all shapes, each shape as heavy as the others."""
    sums, shapes = np.zeros((2, readout.dim)), 0
    for material in (material for sets in slides for material in sets):
        for batch, dense in dense_batches(network, readout, material, device):
            pooled = np.stack([mean_features(values, batch) for values in (dense, dense**2)]).astype(float)
            known = np.isfinite(pooled).all(axis=(0, 2))
            sums, shapes = sums + pooled[:, known].sum(axis=1), shapes + known.sum()
    mean, square = sums / max(shapes, 1)
    return mean, feature_spread(mean, square)


@torch.inference_mode()
def dense_batches(
    network: PixNet, readout: Readout, material: ShapeDataset, device: torch.device | str
) -> Iterator[tuple[Batch, Tensor]]:
    """Some shapes, and all features of their pixels."""
    for batch in material.batches(DENSE_CROPS):
        yield batch.to(device), readout.dense(material.maps(network, batch.crops, device))


def mean_features(dense: Tensor, batch: Batch) -> np.ndarray:
    means: np.ndarray = (pool_weighted(dense, batch.weights) / batch.area_um2).cpu().numpy()
    return means


def corners(places: np.ndarray, cuts: int) -> list[np.ndarray]:
    """(S,) bool for each of four corners: of columns at quantiles of x, the outer ones cut at quantiles of y."""
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
