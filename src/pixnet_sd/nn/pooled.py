"""Features of a frozen encoder, exactly pooled over measured shapes: what a regression sees. Torch and numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pixnet_sd._scores import log_profile
from pixnet_sd.nn.loss import pool
from pixnet_sd.nn.material import DENSE_CROPS, Material
from pixnet_sd.nn.network import PixNet
from pixnet_sd.nn.prepared import Prepared
from pixnet_sd.nn.readout import Readout
from pixnet_sd.nn.samples import spread

BLOCKS = 2
"""A slide on its own is cut into this many by this many blocks, which are left out in turn."""


@dataclass(frozen=True)
class Pooled:
    """All shapes that have counts."""

    features: np.ndarray
    """(S, D) means over each shape."""
    squares: np.ndarray
    """(S, D) means of the squares of the features."""
    profiles: np.ndarray
    """(S, G) log expression."""
    groups: np.ndarray
    """(S,) which section, or which block of the only one."""

    @property
    def pixel_mean(self) -> np.ndarray:
        """(D,) over the pixels of all shapes."""
        return self.features.mean(axis=0)

    @property
    def pixel_scale(self) -> np.ndarray:
        """(D,) standard deviations over the pixels of all shapes, 1 where a feature is constant."""
        return spread(self.pixel_mean, self.squares.mean(axis=0))


def pool_slides(
    network: PixNet,
    readout: Readout,
    slides: Sequence[Prepared],
    device: torch.device | str,
) -> Pooled:
    """All sets of shapes of all slides."""
    parts = [
        pool_set(network, readout, material, number if len(slides) > 1 else None, device)
        for number, sets in enumerate(slides)
        for material in sets
    ]
    return Pooled(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def pool_set(
    network: PixNet, readout: Readout, material: Material, group: int | None, device: torch.device | str
) -> tuple[np.ndarray, ...]:
    measured = material.measured
    features, squares = pooled_features(network, readout, material, device)
    profiles = log_profile(measured.counts.toarray(), measured.totals)
    groups = blocks_of(measured.shapes.centroid) if group is None else np.full(len(features), group)
    known = np.isfinite(features).all(axis=1) & np.isfinite(profiles).all(axis=1)
    return tuple(values[known] for values in (features, squares, profiles, groups))


@torch.inference_mode()
def pooled_features(
    network: PixNet, readout: Readout, material: Material, device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    """(shapes, D) twice: the exact means of every feature and of its square; NaN where a shape has no area."""
    moments = np.full((2, len(material.measured.shapes), readout.dim), np.nan)
    for batch in material.batches(DENSE_CROPS):
        here, dense = batch.to(device), readout.dense(material.maps(network, batch.crops, device))
        for own, values in zip(moments, (dense, dense**2), strict=True):
            own[batch.rows] = (pool(values, here.weights) / here.area_um2).cpu().numpy()
    return moments[0], moments[1]


def blocks_of(places: np.ndarray) -> np.ndarray:
    """Blocks of about as many shapes each: columns at quantiles of x, then rows at quantiles of y."""
    column = quantile_bins(places[:, 0])
    blocks = np.zeros(len(places), int)
    for number in range(BLOCKS):
        inside = column == number
        blocks[inside] = number * BLOCKS + quantile_bins(places[inside, 1])
    return blocks


def quantile_bins(values: np.ndarray) -> np.ndarray:
    edges = np.nanquantile(values, np.arange(1, BLOCKS) / BLOCKS)
    return np.searchsorted(edges, values)
