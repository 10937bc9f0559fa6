"""How well networks do on measured shapes that they were not trained on. Torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._metrics.scores import LOW_CEILING, PER, log_profile, mean_of_known, panel_ceiling, pearson, rate_totals
from pixnet_sd.nn.network.heads import RateHead
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.pixelwise import PixelDecoder
from pixnet_sd.nn.training.augment import CropView
from pixnet_sd.nn.training.crops import Crop
from pixnet_sd.nn.training.dataset import Batch, ShapeDataset, TrainingSet
from pixnet_sd.nn.training.loss import pool_weighted

MOST = 10.0
"""By which expected counts of a gene are put right, at most."""
EXAMINED = 64
"""Crops at once, at most."""
CPU_PIXELS = 2**17
"""Input pixels that are decoded at once on a CPU: tensors of a few MB stay in its caches, and pages are not asked for
again and again. Up to three times as fast as a whole batch."""
CPU_SAMPLES = 2**14
"""The same for drawn pixels."""


def split_crops(material: ShapeDataset, crops: Sequence[Crop], device: torch.device | str) -> Iterator[list[Crop]]:
    """As many crops at a time as the device likes."""
    if not crops:
        return
    size = len(crops)
    if torch.device(device).type == "cpu" and material.samples is not None:
        shapes = np.mean([len(crop.rows) for crop in crops])
        size = int(CPU_SAMPLES / shapes / material.samples.weights.shape[1])
    elif torch.device(device).type == "cpu":
        size = CPU_PIXELS // crops[0].window.area
    size = max(1, size)
    yield from (list(crops[start : start + size]) for start in range(0, len(crops), size))


def pool_crops(
    network: PixNet, material: ShapeDataset, crops: list[Crop], device: torch.device | str, view: CropView | None = None
) -> Tensor:
    """(shapes, K) of some crops, in their order: sums of rates, or means of log expression."""
    if material.samples is not None:
        rows = np.concatenate([crop.rows for crop in crops])
        return pool_samples(network, *material.samples.read(rows, device))
    batch = material.batch(crops).to(device)
    return expected_sums(network, material.maps(network, batch.crops, device, view), batch, view)


def pool_samples(network: PixNet, features: Tensor, weights: Tensor) -> Tensor:
    """(shapes, K) from drawn pixels."""
    assert isinstance(network.decoder, PixelDecoder)
    programs = network.head(network.decoder.at(features))[..., 0]
    sums = torch.einsum("skm,sm->sk", programs, weights)
    return sums if isinstance(network.head, RateHead) else sums / weights.sum(1, keepdim=True)


def expected_sums(network: PixNet, maps: list[Tensor], batch: Batch, view: CropView | None = None) -> Tensor:
    """(shapes, K) of a batch on the device of its maps: sums of rates, or means of log expression."""
    programs = network.decode(maps)
    pooled = pool_weighted(programs if view is None else view.back(programs), batch.weights)
    return pooled if isinstance(network.head, RateHead) else pooled / batch.area_um2


@torch.inference_mode()
def predict_dataset(network: PixNet, material: ShapeDataset, device: torch.device | str) -> np.ndarray:
    """(shapes, genes) of a whole material; NaN where a shape has no area."""
    predicted = np.full(material.measured.counts.shape, np.nan, np.float32)
    for start in range(0, len(material.crops), EXAMINED):
        for crops in split_crops(material, material.crops[start : start + EXAMINED], device):
            sums = pool_crops(network, material, crops, device)
            rows = np.concatenate([crop.rows for crop in crops])
            predicted[rows] = (sums @ network.loadings + network.intercept).cpu().numpy()
    return predicted


def count_ratios(network: PixNet, lesson: TrainingSet) -> np.ndarray:
    """(genes,) counts that were measured over those that are expected, on all that a network learnt from."""
    measured, expected = np.zeros((2, network.loadings.shape[1]))
    for material, factor in zip(lesson.training, lesson.size_factors, strict=True):
        predicted = predict_dataset(network, material, lesson.device)
        known = np.isfinite(predicted).all(axis=1)
        measured += material.measured.counts[np.flatnonzero(known)].sum(axis=0)
        expected += factor * predicted[known].sum(axis=0, dtype=float)
    return np.clip(measured / np.maximum(expected, 1e-12), 1 / MOST, MOST)


def mean_score(network: PixNet, validation: Sequence[ShapeDataset], device: torch.device | str) -> float:
    """Over genes and materials."""
    return mean_of_known(gene_scores([network], validation, device))


def gene_scores(
    members: Sequence[PixNet], validation: Sequence[ShapeDataset], device: torch.device | str
) -> np.ndarray:
    """(genes,) Pearson between log profiles within each material, mean over those."""
    scores = np.array([score_dataset(members, material, device) for material in validation])
    known = np.isfinite(scores).sum(axis=0)
    return np.divide(np.nansum(scores, axis=0), known, out=np.full(scores.shape[1], np.nan), where=known > 0)


def score_dataset(members: Sequence[PixNet], material: ShapeDataset, device: torch.device | str) -> np.ndarray:
    """(genes,); the members' mean is what predicts."""
    predicted = np.mean([predict_dataset(member.to(device), material, device) for member in members], axis=0)
    counts, totals = material.measured.counts.toarray(), material.measured.totals
    if isinstance(members[0].head, RateHead) and counts.shape[1] == 1:
        return pearson(*rates(predicted, counts, totals))
    if isinstance(members[0].head, RateHead):
        predicted = np.log1p(PER * panel_share(material) * predicted / predicted.sum(axis=1, keepdims=True))
    return pearson(predicted, log_profile(counts, totals))


def rates(predicted: np.ndarray, counts: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(shapes, 1) twice: one gene, which has no profile, at the mean depth; NaN in shapes without any counts."""
    same, own = rate_totals(predicted, counts.sum(), totals)
    return log_profile(predicted, own), log_profile(counts, np.where(totals > 0, same, np.nan))


def what_limits(validation: Sequence[ShapeDataset], genes: int) -> str:
    """What to know of the scores of few genes, for the model's card; nothing for panels of normal size."""
    if genes == 1:
        return "; compared as a rate: one gene has no profile"
    measured = [material.measured for material in validation]
    limits = [panel_ceiling(one.counts, one.totals, np.arange(genes)) for one in measured]
    limit = mean_of_known(np.array(limits))
    if not limit < LOW_CEILING:
        return ""
    return f"; as shares among {genes} genes, for which the measured counts themselves would score {limit:.2f}"


def panel_share(material: ShapeDataset) -> float:
    """The share that the model's genes have of all counts."""
    return float(material.measured.counts.sum() / material.measured.totals.sum())
