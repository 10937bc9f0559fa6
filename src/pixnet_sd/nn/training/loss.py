"""Losses on what is pooled over shapes: the paper's, on log values, and ours, on counts. Torch only.

Shapes: S shapes (spots, bins, cells), K programs, G genes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixnet_sd._errors import PixnetValueError

SMALLEST_RATE = 1e-8
SMALLEST_SPREAD = 1e-6
PER = 1e4
"""Profiles are compared as counts per ten thousand."""


def pool_weighted(programs: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums over shapes: programs (B, K, h, w), weights sparse (S, B*h*w) -> (S, K).

    Weights in um2 of coverage pool a rate to expected counts; weights whose rows sum to 1 pool a log map to means.
    """
    pixels = programs.movedim(1, -1).flatten(0, -2)
    if weights.shape[1] != len(pixels):
        raise PixnetValueError(
            f"Weights for {weights.shape[1]} pixels do not fit programs of {len(pixels)} pixels, "
            f"{tuple(programs.shape)}."
        )
    return torch.sparse.mm(weights, pixels)


def pearson_columns(predicted: Tensor, target: Tensor) -> Tensor:
    """(S, G) twice -> (G,); 0 where either does not vary."""
    predicted, target = predicted - predicted.mean(0), target - target.mean(0)
    norms = predicted.norm(dim=0) * target.norm(dim=0)
    return (predicted * target).sum(0) / norms.clamp_min(SMALLEST_SPREAD)


def paper_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """MSE + 0.5 (1 - Pearson over the batch's shapes, mean over genes), on log expression (S, G)."""
    return F.mse_loss(predicted, target) + 0.5 * (1 - pearson_columns(predicted, target)).mean()


@dataclass(frozen=True)
class RateLoss:
    """How counts are compared with expected counts."""

    likelihood: str = "nb"
    """"nb" (negative binomial), "poisson", or "multinomial" over the shapes of a section, gene by gene."""
    correlation: float = 1.0
    """Weight of 1 - Pearson between log profiles within each section."""
    scaled: bool = False
    """Multiply 1 - Pearson by the prediction's own SD, without gradient: its gradient carries the inverse."""

    def __post_init__(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise PixnetValueError(f"A likelihood is one of {list(LIKELIHOODS)}; got {self.likelihood!r}.")


@dataclass(frozen=True)
class BatchCounts:
    """What was measured on a batch of shapes."""

    counts: Tensor
    """(S, G) raw counts."""
    size_factors: Tensor
    """(S,) sequencing depth: one per section for a map of true rates, or one per shape for a composition."""
    sections: Tensor
    """(S,) integers."""
    totals: Tensor | None = None
    """(S,) counts over all genes measured: the correlation then compares compositions, and not only rates."""

    def __getitem__(self, keep: Tensor) -> BatchCounts:
        totals = None if self.totals is None else self.totals[keep]
        return BatchCounts(self.counts[keep], self.size_factors[keep], self.sections[keep], totals)

    def to(self, device: torch.device | str) -> BatchCounts:
        totals = None if self.totals is None else self.totals.to(device)
        return BatchCounts(self.counts.to(device), self.size_factors.to(device), self.sections.to(device), totals)

    @property
    def measured(self) -> Tensor:
        """(S,) shapes with any count; the others are masked."""
        return (self.counts.sum(1) if self.totals is None else self.totals) > 0


def rate_loss(expected: Tensor, measured: BatchCounts, dispersion: Tensor, loss: RateLoss) -> Tensor:
    """Likelihood of raw counts plus correlation of log profiles; `expected` (S, G) is at size factor 1."""
    keep = measured.measured
    if not keep.any():
        return 0.0 * expected.sum()
    expected, measured = expected[keep].clamp_min(SMALLEST_RATE), measured[keep]
    means = expected * measured.size_factors[:, None]
    total = LIKELIHOODS[loss.likelihood](means, measured, dispersion)
    if loss.correlation:
        total = total + loss.correlation * correlation_loss(expected, measured, scaled=loss.scaled)
    return total


def negative_binomial_loss(means: Tensor, measured: BatchCounts, dispersion: Tensor) -> Tensor:
    """Mean negative log-likelihood; the variance is mean + dispersion * mean^2."""
    counts, shape = measured.counts, 1 / dispersion
    denominator = torch.log(shape + means)
    log_choose = torch.lgamma(counts + shape) - torch.lgamma(shape) - torch.lgamma(counts + 1)
    chance = shape * (shape.log() - denominator) + counts * (means.log() - denominator)
    return -(log_choose + chance).mean()


def poisson_loss(means: Tensor, measured: BatchCounts, dispersion: Tensor) -> Tensor:
    """Mean negative log-likelihood; the dispersion is not used."""
    counts = measured.counts
    return (means - counts * means.log() + torch.lgamma(counts + 1)).mean()


def multinomial_loss(means: Tensor, measured: BatchCounts, dispersion: Tensor) -> Tensor:
    """Negative log-likelihood of how each section's count of a gene falls on its shapes, per shape and gene.

    It is the Poisson given the gene's total, so it says nothing of levels: start the head at the genes' means.
    """
    shares = torch.cat(
        [log_share_likelihood(*pair) for pair in split_by_section(measured.sections, means, measured.counts)]
    )
    return -shares.sum() / means.numel()


def log_share_likelihood(means: Tensor, counts: Tensor) -> Tensor:
    """(S, G) twice -> (1, G) log-likelihood of the counts given their sums over S."""
    log_shares = means.log() - means.sum(0).log()
    log_choose = torch.lgamma(counts.sum(0) + 1) - torch.lgamma(counts + 1).sum(0)
    return (log_choose + (counts * log_shares).sum(0))[None]


LIKELIHOODS: dict[str, Callable[[Tensor, BatchCounts, Tensor], Tensor]] = {
    "nb": negative_binomial_loss,
    "poisson": poisson_loss,
    "multinomial": multinomial_loss,
}


def correlation_loss(expected: Tensor, measured: BatchCounts, *, scaled: bool) -> Tensor:
    """1 - Pearson of log1p profiles within each section, mean over genes, weighted by shapes.

    Never across sections: a correlation over pooled sections rewards whatever tells the slides apart.
    """
    predicted, target = log_profiles(expected, measured)
    terms = []
    for own, true in split_by_section(measured.sections, torch.log1p(predicted), torch.log1p(target)):
        spread = own.std(0, correction=0).detach() if scaled else 1.0
        terms.append(len(own) * (spread * (1 - pearson_columns(own, true))).mean())
    return torch.stack(terms).sum() / len(expected)


def log_profiles(expected: Tensor, measured: BatchCounts) -> tuple[Tensor, Tensor]:
    """What is correlated: rates at size factor 1, or compositions where the totals over all genes are known.

    A predicted composition is scaled to the mean share that the model's genes have of all counts. One gene has no
    composition: its counts are compared at the mean depth.
    """
    if measured.totals is None:
        return expected, measured.counts / measured.size_factors[:, None]
    if expected.shape[1] == 1:
        per = PER / measured.totals.mean()
        return per * measured.size_factors[:, None] * expected, per * measured.counts
    target = PER * measured.counts / measured.totals[:, None]
    return expected / expected.sum(1, keepdim=True) * target.sum(1).mean(), target


def split_by_section(sections: Tensor, *tables: Tensor) -> list[tuple[Tensor, ...]]:
    """The rows of each section, from every table."""
    return [tuple(table[sections == section] for table in tables) for section in torch.unique(sections)]
