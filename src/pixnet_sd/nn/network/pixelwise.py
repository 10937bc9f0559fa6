"""The dense linear readout: all features at one stride, standardised, one projection. And its ridge in closed form.

Torch for the network, numpy for the fit. A linear readout of exactly pooled features is a ridge regression, and the
same numbers are a dense map: pooling, standardising and projecting commute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.ops import FeatureSource, resample_map


class Readout(nn.Module):
    """Standardised features of every source times one (D, K) projection, at one stride."""

    mean: Tensor
    scale: Tensor

    def __init__(self, sources: Sequence[FeatureSource], stride: int, width: int) -> None:
        super().__init__()
        self.sources, self.stride, self.width = tuple(sources), stride, width
        self.dim = sum(source.channels for source in sources)
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("scale", torch.ones(self.dim))
        self.projection = nn.Parameter(torch.randn(self.dim, width) / self.dim**0.5)
        self.hide = nn.Dropout2d(0.0)  # of features, set by whoever trains

    def dense(self, maps: Sequence[Tensor]) -> Tensor:
        """All sources side by side at the output stride, (B, D, h, w): what is pooled to fit the ridge."""
        return torch.cat(
            [resample_map(m, s.stride, self.stride) for m, s in zip(maps, self.sources, strict=True)], dim=1
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, width, h, w): `dense` standardised and projected, with each source projected before it is upsampled."""
        if self.training and self.hide.p:
            return self.at(self.dense(maps))
        weights = (self.projection / self.scale[:, None]).split([source.channels for source in self.sources])
        projected: dict[int, Tensor] = {}
        for seen, source, own in zip(maps, self.sources, weights, strict=True):
            stride = max(source.stride, self.stride)
            part = F.conv2d(resample_map(seen, source.stride, stride), own.T[:, :, None, None])
            projected[stride] = projected[stride].add_(part) if stride in projected else part
        offset = (self.mean / self.scale) @ self.projection
        # Added up in place: a stack of all of them would take three times as long.
        strides = sorted(projected, reverse=True)
        total = resample_map(projected[strides[0]], strides[0], self.stride) - offset[:, None, None]
        for stride in strides[1:]:
            total += resample_map(projected[stride], stride, self.stride)
        return total

    def at(self, dense: Tensor) -> Tensor:
        """The same from `dense`, at any pixels (B, D, h, w)."""
        seen = self.hide((dense - self.mean[:, None, None]) / self.scale[:, None, None])
        return F.conv2d(seen, self.projection.T[:, :, None, None])

    @torch.no_grad()
    def start_at(self, fit: RidgeFit) -> None:
        """Take over a fit whose rank is this readout's width."""
        for name in ("mean", "scale", "projection"):
            getattr(self, name).copy_(torch.from_numpy(getattr(fit, name)))


@dataclass(frozen=True)
class RidgeFit:
    """A reduced-rank ridge: targets = ((features - mean) / scale) @ projection @ loadings + intercept."""

    mean: np.ndarray
    """(D,) of the features."""
    scale: np.ndarray
    """(D,) standard deviations of the features, 1 where a feature is constant."""
    projection: np.ndarray
    """(D, K)."""
    loadings: np.ndarray
    """(K, G), orthonormal rows."""
    intercept: np.ndarray
    """(G,) mean targets."""
    penalty: float
    """The chosen penalty, as `alpha` of scikit-learn's Ridge on the standardised features."""
    scores: dict[float, float]
    """Held-out correlation within groups, mean over genes, for every penalty tried."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, G)."""
        return (features - self.mean) / self.scale @ self.projection @ self.loadings + self.intercept


@dataclass(frozen=True)
class Fold:
    """Shapes that are left out together."""

    left_out: np.ndarray
    """(N,) bool."""
    known: np.ndarray
    """(N,) bool: what may be learnt from meanwhile."""


def group_folds(groups: np.ndarray) -> list[Fold]:
    """Each group left out in turn, and all others known."""
    return [Fold(groups == name, groups != name) for name in np.unique(groups)]


PENALTIES = tuple(float(10**power) for power in np.arange(0, 6.5, 0.5))


def fit_ridge(
    features: np.ndarray,
    targets: np.ndarray,
    folds: Sequence[Fold] = (),
    *,
    penalties: Sequence[float] = PENALTIES,
    rank: int | None = None,
) -> RidgeFit:
    """Ridge regression of (N, G) targets on (N, D) pooled features, in float64.

    The penalty is the one with the best correlation within what is left out (sections, or blocks of one section). The
    rank is then cut to the directions of the fitted values with the most variance, which is the best fit of that rank
    (reduced-rank ridge regression: Mukherjee and Zhu, Stat. Anal. Data Min. 4 (2011) 612-622).
    """
    features, targets = check_finite(features, "features"), check_finite(targets, "targets")
    scores = dict.fromkeys(map(float, penalties), 0.0)
    if len(scores) > 1:
        scores = cross_validate(features, targets, folds, tuple(scores))
    penalty = max(scores, key=scores.__getitem__)
    ridge = Ridge(features, targets)
    weights = ridge.weights(penalty)
    directions = np.linalg.svd(ridge.standardise(features) @ weights, full_matrices=False)[2][:rank]
    return RidgeFit(
        ridge.mean, ridge.scale, weights @ directions.T, directions, ridge.intercept, penalty=penalty, scores=scores
    )


def pad_fit(fit: RidgeFit, rank: int) -> RidgeFit:
    """A fit of lower rank than was asked for, with programs that are always zero."""
    missing = rank - fit.projection.shape[1]
    projection = np.pad(fit.projection, ((0, 0), (0, missing)))
    return replace(fit, projection=projection, loadings=np.pad(fit.loadings, ((0, missing), (0, 0))))


class Ridge:
    """One eigendecomposition, then any penalty at the cost of a product."""

    def __init__(self, features: np.ndarray, targets: np.ndarray) -> None:
        self.mean, scale = features.mean(0), features.std(0)
        self.scale = np.where(scale > 1e-8 * (np.abs(self.mean) + 1), scale, 1.0)
        self.intercept = targets.mean(0)
        left, self.values, self.right = np.linalg.svd(self.standardise(features), full_matrices=False)
        self.rotated = left.T @ (targets - self.intercept)

    def standardise(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) / self.scale

    def weights(self, penalty: float) -> np.ndarray:
        shrunk = self.values / (self.values**2 + penalty)
        return self.right.T @ (shrunk[:, None] * self.rotated)


def cross_validate(
    features: np.ndarray, targets: np.ndarray, folds: Sequence[Fold], penalties: Sequence[float]
) -> dict[float, float]:
    if len(folds) < 2:
        raise PixnetValueError(
            f"Choosing among {len(penalties)} penalties needs at least 2 groups to leave out; got {len(folds)}. "
            "Give one penalty, or groups such as sections or spatial blocks."
        )
    scores = np.zeros(len(penalties))
    for fold in folds:
        ridge = Ridge(features[fold.known], targets[fold.known])
        held = ridge.standardise(features[fold.left_out])
        scores += [mean_correlation(held @ ridge.weights(penalty), targets[fold.left_out]) for penalty in penalties]
    return dict(zip(penalties, (scores / len(folds)).tolist(), strict=True))


def mean_correlation(predicted: np.ndarray, target: np.ndarray) -> float:
    """Pearson per column, mean over the columns that vary."""
    predicted, target = predicted - predicted.mean(0), target - target.mean(0)
    norms = np.sqrt((predicted**2).sum(0) * (target**2).sum(0))
    varies = norms > 1e-12
    return float(((predicted * target).sum(0)[varies] / norms[varies]).mean()) if varies.any() else 0.0


def check_finite(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise PixnetValueError(f"The ridge needs a finite table of {name}; got shape {values.shape}, {bad} not finite.")
    return values


class PixelDecoder(nn.Module):
    """Standardised features, projected: half of the projections pass as they are, half bend.

    It has no kernel, so with few spots there is little that it could learn by heart, and what passes as it is can start
    at a regression.
    """

    def __init__(self, sources: Sequence[FeatureSource], stride: int, width: int) -> None:
        super().__init__()
        self.width = 2 * width
        self.readout = Readout(sources, stride, self.width)
        self.dropout = nn.Dropout2d(0.0)  # set by whoever trains
        self.bias = nn.Parameter(torch.zeros(self.width, 1, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """One map per source -> (B, 2 width, H/stride, W/stride)."""
        return self.bend(self.readout(maps))

    def at(self, dense: Tensor) -> Tensor:
        """The same from all features of any pixels (B, D, h, w)."""
        return self.bend(self.readout.at(dense))

    def bend(self, projected: Tensor) -> Tensor:
        straight, bent = (projected + self.bias).chunk(2, dim=1)
        return torch.cat([straight, self.dropout(F.silu(bent))], dim=1)

    @torch.no_grad()
    def standardise(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Take over the mean and standard deviation of every feature over pixels."""
        self.readout.mean.copy_(torch.from_numpy(mean))
        self.readout.scale.copy_(torch.from_numpy(scale))
