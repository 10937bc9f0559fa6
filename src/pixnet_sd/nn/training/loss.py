"""Losses on what is pooled over shapes: the paper's, on log values, and ours, on counts. Torch and numpy.

Shapes: S shapes (spots, bins, cells) of one section, K programs, G genes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._metrics.scores import PER, log_profile

SMALLEST_RATE = 1e-8
SMALLEST_SPREAD = 1e-6


def pool_weighted(programs: Tensor, weights: Tensor) -> Tensor:
    """Sum programs (B, K, h, w) over shapes with sparse weights (S, B*h*w): returns (S, K).

    Weights in um2 of coverage pool a rate to expected counts; weights whose rows sum to 1 pool a log map to means.
    """
    pixels = programs.movedim(1, -1).flatten(0, -2)
    if weights.shape[1] != len(pixels):
        raise PixnetValueError(
            f"Weights for {weights.shape[1]} pixels do not fit programs of {len(pixels)} pixels, "
            f"{tuple(programs.shape)}."
        )
    return torch.sparse.mm(weights, pixels)


def correlate_columns(predicted: Tensor, target: Tensor) -> Tensor:
    """Compute Pearson correlations (G,) of (S, G) tables; 0 where either does not vary."""
    # The scores' `pearson` is NaN there, and one NaN would spread to all weights.
    predicted, target = predicted - predicted.mean(0), target - target.mean(0)
    norms = predicted.norm(dim=0) * target.norm(dim=0)
    return (predicted * target).sum(0) / norms.clamp_min(SMALLEST_SPREAD)


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
    """Measured counts of a batch of shapes of one section."""

    counts: Tensor
    """(S, G) raw counts."""
    totals: Tensor
    """(S,) counts over all genes measured."""
    size_factor: float
    """Sequencing depth of the section."""

    def select(self, keep: Tensor) -> BatchCounts:
        return BatchCounts(self.counts[keep], self.totals[keep], self.size_factor)


def masked_loss(
    loss: str, predicted: Tensor, measured: BatchCounts, dispersion: Tensor | None, options: RateLoss
) -> Tensor:
    """Compute the loss of this name, on shapes with any count."""
    known = measured.totals > 0
    if not known.any():
        return 0.0 * predicted.sum()
    return LOSSES[loss](predicted[known], measured.select(known), dispersion, options)


def paper_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Compute MSE + 0.5 (1 - Pearson over the batch's shapes, mean over genes), on log expression (S, G)."""
    return F.mse_loss(predicted, target) + 0.5 * (1 - correlate_columns(predicted, target)).mean()


def log_loss(predicted: Tensor, measured: BatchCounts, dispersion: Tensor | None, options: RateLoss) -> Tensor:
    """Compute the paper's loss against log profiles; it has neither a dispersion nor options."""
    # In double precision, which not all devices have.
    profiles = log_profile(measured.counts.cpu().numpy(), measured.totals.cpu().numpy())
    return paper_loss(predicted, torch.from_numpy(profiles.astype(np.float32)).to(predicted.device))


def rate_loss(expected: Tensor, measured: BatchCounts, dispersion: Tensor | None, options: RateLoss) -> Tensor:
    """Compute a likelihood of raw counts plus a correlation of log profiles; `expected` is at size factor 1."""
    # The likelihoods take logarithms, and softplus underflows to 0.
    expected = expected.clamp_min(SMALLEST_RATE)
    total = LIKELIHOODS[options.likelihood](expected * measured.size_factor, measured.counts, dispersion)
    if options.correlation:
        total = total + options.correlation * correlation_loss(expected, measured, scaled=options.scaled)
    return total


# By the `loss` of a head.
LOSSES: dict[str, Callable[[Tensor, BatchCounts, Tensor | None, RateLoss], Tensor]] = {
    "rate": rate_loss,
    "paper": log_loss,
}


def negative_binomial_loss(means: Tensor, counts: Tensor, dispersion: Tensor | None) -> Tensor:
    """Compute the mean negative log-likelihood; the variance is mean + dispersion * mean^2."""
    assert dispersion is not None, "the head has no dispersion"
    shape = 1 / dispersion
    denominator = torch.log(shape + means)
    log_choose = torch.lgamma(counts + shape) - torch.lgamma(shape) - torch.lgamma(counts + 1)
    chance = shape * (shape.log() - denominator) + counts * (means.log() - denominator)
    return -(log_choose + chance).mean()


def glass_loss(expected: Tensor) -> Tensor:
    """Compute the mean negative log-likelihood of no counts at all, of a negative binomial with dispersion 1."""
    return torch.log1p(expected).mean()


def poisson_loss(means: Tensor, counts: Tensor, dispersion: Tensor | None) -> Tensor:
    """Compute the mean negative log-likelihood; the dispersion is not used."""
    return (means - counts * means.log() + torch.lgamma(counts + 1)).mean()


def multinomial_loss(means: Tensor, counts: Tensor, dispersion: Tensor | None) -> Tensor:
    """Compute the negative log-likelihood of each gene's counts given their sum, per shape and gene.

    It is the Poisson given the gene's total, so it does not determine levels: start the head at the genes' means.
    """
    log_shares = means.log() - means.sum(0).log()
    log_choose = torch.lgamma(counts.sum(0) + 1) - torch.lgamma(counts + 1).sum(0)
    return -(log_choose + (counts * log_shares).sum(0)).sum() / means.numel()


# Of counts (S, G) given their means, by `RateLoss.likelihood`.
LIKELIHOODS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "nb": negative_binomial_loss,
    "poisson": poisson_loss,
    "multinomial": multinomial_loss,
}


def correlation_loss(expected: Tensor, measured: BatchCounts, *, scaled: bool) -> Tensor:
    """Compute 1 - Pearson of log1p profiles, mean over genes.

    A batch is of one section: a correlation over pooled sections rewards whatever tells the slides apart.
    """
    predicted, target = map(torch.log1p, predict_profiles(expected, measured))
    spread = predicted.std(0, correction=0).detach() if scaled else 1.0
    return (spread * (1 - correlate_columns(predicted, target))).mean()


def predict_profiles(expected: Tensor, measured: BatchCounts) -> tuple[Tensor, Tensor]:
    """Return predicted and measured counts per ten thousand (S, G).

    A predicted profile is scaled to the mean share that the model's genes have of all counts. One gene has no profile:
    its counts are compared at the mean depth.
    """
    if expected.shape[1] == 1:
        per = PER / measured.totals.mean()
        return per * measured.size_factor * expected, per * measured.counts
    target = PER * measured.counts / measured.totals[:, None]
    return expected / expected.sum(1, keepdim=True) * target.sum(1).mean(), target
