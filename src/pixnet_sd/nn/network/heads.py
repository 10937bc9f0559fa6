"""Heads: from decoder features to programs, and from pooled programs to genes. Torch and numpy.

All heads are linear after the programs: `pooled @ loadings + intercept`, so that pooling over a shape and the step
to genes commute, and a map needs K channels whatever the number of genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixnet_sd.nn.slides import Slide, mean_profiles, mean_rates

# Below it a negative binomial is a Poisson for any count seen here, and its log-gamma terms lose their digits.
SMALLEST_DISPERSION = 1e-3

SMALLEST_RATE = 1e-8
# Where a program bends, as a share of its mean: above it, it is linear in the features, so that pixels, which stray
# further than the means of spots, are not extrapolated by an exponential.
SHARPNESS = 0.3


class Head(nn.Module):
    """Base of all heads. They take the same arguments: the decoder's `width`, the numbers of `programs` and `genes`."""

    unit: ClassVar[str]
    """Of pooled genes: "counts/um2" or "log1p"."""
    additive: ClassVar[bool]
    """Whether pooled genes are expected counts, which add up over shapes, or means."""
    loss: ClassVar[str]
    """Name in the table of losses (`nn/training/loss.py`)."""
    loadings: Tensor
    """(K, G)."""
    intercept: Tensor
    """(G,)."""
    dispersion: Tensor | None = None
    """(G,) of a negative binomial: its variance is mean + dispersion * mean^2."""

    @staticmethod
    def mean_targets(slides: Sequence[Slide]) -> np.ndarray:
        """Compute what `start_at` needs, (G,), from the training data."""
        raise NotImplementedError

    def start_at(self, means: Tensor) -> None:
        """Initialize so that the map has these means (G,): training then learns where, not how much."""
        raise NotImplementedError

    def normalize(self, sums: Tensor, area_um2: Tensor) -> Tensor:
        """Turn sums over shapes (S, K), weighted by covered area, into what the loadings multiply."""
        return sums if self.additive else sums / area_um2

    def rescale(self, factors: Tensor) -> None:
        """Multiply every gene's map (G,); only of additive heads."""
        raise NotImplementedError


class RateHead(Head):
    """Non-negative programs times non-negative loadings: expected counts per um2 at size factor 1.

    The scale lives in the programs: each row of the loadings sums to 1, the gene profile of one program, so
    program k is the counts per um2 (over the model's genes) that it contributes.
    """

    unit, additive, loss = "counts/um2", True, "rate"
    scale: Tensor

    def __init__(self, width: int, programs: int, genes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(width, programs, 1, bias=False)
        self.register_buffer("scale", torch.ones(programs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(programs, 1, 1))
        self.raw_loadings = nn.Parameter(0.5 * torch.randn(programs, genes))
        self.log_dispersion = nn.Parameter(torch.full((genes,), -1.0))
        self.register_buffer("intercept", torch.zeros(genes), persistent=False)

    @property
    def loadings(self) -> Tensor:  # type: ignore[override]
        """(K, G), non-negative, rows sum to 1."""
        positive = F.softplus(self.raw_loadings)
        return positive / positive.sum(1, keepdim=True)

    @property
    def dispersion(self) -> Tensor:  # type: ignore[override]
        return self.log_dispersion.exp() + SMALLEST_DISPERSION

    def forward(self, features: Tensor) -> Tensor:
        """Compute programs (B, K, h, w) >= 0 from (B, width, h, w), in float32 also under autocast."""
        return self.scale * F.softplus(self.project(features).float() + self.bias)

    @staticmethod
    def mean_targets(slides: Sequence[Slide]) -> np.ndarray:
        return mean_rates(slides)

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        total = means.sum().clamp_min(SMALLEST_RATE)
        profile = (means / total).clamp_min(SMALLEST_RATE)
        profiles = profile * balance_loadings(torch.exp(0.5 * torch.randn_like(self.raw_loadings)), profile)
        self.raw_loadings.copy_(inverse_softplus(len(means) * profiles))
        # On the linear side of the programs' bend.
        self.scale.fill_(SHARPNESS * (total / len(self.bias)).clamp_min(SMALLEST_RATE))
        self.bias.fill_(inverse_softplus(torch.tensor(1 / SHARPNESS)))

    @torch.no_grad()
    def rescale(self, factors: Tensor) -> None:
        """Multiply every gene's map (G,); what rows of the loadings then sum to goes to their programs."""
        # Softplus never reaches 0, so a loading of 0 has no inverse.
        scaled = (self.loadings * factors).clamp_min(SMALLEST_RATE**2)
        sums = scaled.sum(1, keepdim=True)
        self.raw_loadings.copy_(inverse_softplus(len(factors) * scaled / sums))
        self.scale.mul_(sums[:, :, None])


class FixedRateHead(RateHead):
    """Rates by a table of loadings, which is fitted to programs that no longer change: each gene on its own."""

    table: Tensor

    def __init__(self, width: int, programs: int, genes: int) -> None:
        super().__init__(width, programs, genes)
        del self.raw_loadings
        self.register_buffer("table", torch.zeros(programs, genes))

    @property
    def loadings(self) -> Tensor:  # type: ignore[override]
        """(K, G), non-negative."""
        return self.table

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        """Initialize as in RateHead, with the same profile for all programs."""
        total = means.sum().clamp_min(SMALLEST_RATE)
        self.table.copy_((means / total).expand_as(self.table))
        self.scale.fill_(SHARPNESS * (total / len(self.bias)).clamp_min(SMALLEST_RATE))
        self.bias.fill_(inverse_softplus(torch.tensor(1 / SHARPNESS)))

    @torch.no_grad()
    def rescale(self, factors: Tensor) -> None:
        """Multiply every gene's map (G,)."""
        self.table.mul_(factors)


def balance_loadings(factors: Tensor, profile: Tensor) -> Tensor:
    """Scale (K, G) random factors so that every gene keeps its mean and every program its total.

    Rows and columns in turn, until both hold (Sinkhorn and Knopp, Pacific J. Math. 21 (1967) 343-348).
    """
    for _ in range(20):
        factors = factors / factors.mean(0)
        factors = factors / (factors @ profile)[:, None]
    return factors


class LogHead(Head):
    """Plain linear, as in the paper: the decoder's features are the programs, their gene map is log expression."""

    unit, additive, loss = "log1p", False, "paper"

    def __init__(self, width: int, programs: int, genes: int) -> None:
        super().__init__()
        self.loadings = nn.Parameter(torch.randn(width, genes) / width**0.5)
        self.intercept = nn.Parameter(torch.zeros(genes))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, K, h, w) as it is, in float32 also under autocast."""
        return features.float()

    @staticmethod
    def mean_targets(slides: Sequence[Slide]) -> np.ndarray:
        return mean_profiles(slides)

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        self.intercept.copy_(means)


class FeatureHead(Head):
    """The features of an encoder as they are: every feature is a program and a gene. Nothing is trained."""

    unit, additive, loss = "features", False, "none"

    def __init__(self, width: int, programs: int, genes: int) -> None:
        super().__init__()
        self.register_buffer("loadings", torch.eye(width), persistent=False)
        self.register_buffer("intercept", torch.zeros(width), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, K, h, w) as it is, in float32 also under autocast."""
        return features.float()


def inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


# By the value of `NetworkConfig.head`.
HEADS: dict[str, type[Head]] = {"rate": RateHead, "fixed": FixedRateHead, "log": LogHead, "features": FeatureHead}
