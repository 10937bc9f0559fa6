"""Features of a frozen encoder, exactly pooled over measured shapes: what a regression sees. Torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._scores import log_profile
from pixnet_sd.nn.loss import pool
from pixnet_sd.nn.material import DENSE_CROPS, Batch, Material
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
    profiles: np.ndarray
    """(S, G) log expression."""
    groups: np.ndarray
    """(S,) which section, or which block of the only one."""


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
    features = pooled_features(network, readout, material, device)
    profiles = log_profile(measured.counts.toarray(), measured.totals)
    groups = blocks_of(measured.shapes.centroid) if group is None else np.full(len(features), group)
    known = np.isfinite(features).all(axis=1) & np.isfinite(profiles).all(axis=1)
    return tuple(values[known] for values in (features, profiles, groups))


def pooled_features(network: PixNet, readout: Readout, material: Material, device: torch.device | str) -> np.ndarray:
    """(shapes, D): the exact means of every feature; NaN where a shape has no area."""
    means = np.full((len(material.measured.shapes), readout.dim), np.nan)
    for batch, dense in dense_batches(network, readout, material, device):
        means[batch.rows] = means_of(dense, batch)
    return means


def pixel_moments(
    network: PixNet, readout: Readout, slides: Sequence[Prepared], device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    """(D,) twice: means and standard deviations over the pixels of all shapes, each shape as heavy as the others."""
    sums, shapes = np.zeros((2, readout.dim)), 0
    for material in (material for sets in slides for material in sets):
        for batch, dense in dense_batches(network, readout, material, device):
            pooled = np.stack([means_of(values, batch) for values in (dense, dense**2)]).astype(float)
            known = np.isfinite(pooled).all(axis=(0, 2))
            sums, shapes = sums + pooled[:, known].sum(axis=1), shapes + known.sum()
    mean, square = sums / max(shapes, 1)
    return mean, spread(mean, square)


@torch.inference_mode()
def dense_batches(
    network: PixNet, readout: Readout, material: Material, device: torch.device | str
) -> Iterator[tuple[Batch, Tensor]]:
    """Some shapes, and all features of their pixels."""
    for batch in material.batches(DENSE_CROPS):
        yield batch.to(device), readout.dense(material.maps(network, batch.crops, device))


def means_of(dense: Tensor, batch: Batch) -> np.ndarray:
    means: np.ndarray = (pool(dense, batch.weights) / batch.area_um2).cpu().numpy()
    return means


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
