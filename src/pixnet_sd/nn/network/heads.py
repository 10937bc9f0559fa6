"""From decoder features to programs, and from pooled programs to genes. Torch only.

Both heads are linear after the programs: `pooled @ loadings + intercept`, so that pooling over a shape and the step
to genes commute, and a map needs K channels whatever the number of genes.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST_DISPERSION = 1e-3
"""Below it a negative binomial is a Poisson for any count seen here, and its log-gamma terms lose their digits."""

SMALLEST_RATE = 1e-8
SHARPNESS = 0.3
"""Where a program bends, as a share of its mean: above it, it is linear in the features, so that pixels, which stray
further than the means of spots, are not extrapolated by an exponential."""


class RateHead(nn.Module):
    """Non-negative programs times non-negative loadings: expected counts per um2 at size factor 1.

    The scale lives in the programs: each row of the loadings sums to 1, the gene profile of one program, so
    program k is the counts per um2 (over the model's genes) that it contributes.
    """

    unit: ClassVar[str] = "counts/um2"
    intercept: Tensor
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
    def loadings(self) -> Tensor:
        """(K, G), non-negative, rows sum to 1."""
        positive = F.softplus(self.raw_loadings)
        return positive / positive.sum(1, keepdim=True)

    @property
    def dispersion(self) -> Tensor:
        """(G,): the negative binomial's variance is mean + dispersion * mean^2."""
        return self.log_dispersion.exp() + SMALLEST_DISPERSION

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, h, w) -> programs (B, K, h, w) >= 0, in float32 also under autocast."""
        return self.scale * F.softplus(self.project(features).float() + self.bias)

    @torch.no_grad()
    def start_at(self, rates: Tensor) -> None:
        """Begin at the mean rate per um2 of every gene (G,): training then learns where, not how much."""
        total = rates.sum().clamp_min(SMALLEST_RATE)
        profile = (rates / total).clamp_min(SMALLEST_RATE)
        profiles = profile * balance_loadings(torch.exp(0.5 * torch.randn_like(self.raw_loadings)), profile)
        self.raw_loadings.copy_(inverse_softplus(len(rates) * profiles))
        self.start_programs((total / len(self.bias)).expand(len(self.bias)))

    @torch.no_grad()
    def rescale(self, factors: Tensor) -> None:
        """Multiply every gene's map (G,); what rows of the loadings then sum to goes to their programs."""
        scaled = (self.loadings * factors).clamp_min(SMALLEST_RATE**2)
        sums = scaled.sum(1, keepdim=True)
        self.raw_loadings.copy_(inverse_softplus(len(factors) * scaled / sums))
        self.scale.mul_(sums[:, :, None])

    @torch.no_grad()
    def start_programs(self, means: Tensor) -> None:
        """Begin with programs (K,) that have these means, on the linear side of their bend."""
        self.scale.copy_(SHARPNESS * means.clamp_min(SMALLEST_RATE)[:, None, None])
        self.bias.fill_(inverse_softplus(torch.tensor(1 / SHARPNESS)))


def balance_loadings(factors: Tensor, profile: Tensor) -> Tensor:
    """(K, G) random factors, scaled so that every gene keeps its mean and every program its total.

    Rows and columns in turn, until both hold (Sinkhorn and Knopp, Pacific J. Math. 21 (1967) 343-348).
    """
    for _ in range(20):
        factors = factors / factors.mean(0)
        factors = factors / (factors @ profile)[:, None]
    return factors


class LogHead(nn.Module):
    """Plain linear, as in the paper: the decoder's features are the programs, their gene map is log expression."""

    unit: ClassVar[str] = "log1p"

    def __init__(self, width: int, genes: int) -> None:
        super().__init__()
        self.loadings = nn.Parameter(torch.randn(width, genes) / width**0.5)
        self.intercept = nn.Parameter(torch.zeros(genes))

    def forward(self, features: Tensor) -> Tensor:
        """(B, K, h, w) -> the same, in float32 also under autocast."""
        return features.float()

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        """Begin at the mean log expression of every gene (G,)."""
        self.intercept.copy_(means)


def inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))
