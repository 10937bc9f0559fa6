"""Reduced-rank ridge regression in closed form. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._metrics.scores import column_means, mean_of_known, standardize_columns

PENALTIES = tuple(float(10**power) for power in np.arange(0, 6.5, 0.5))


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
    """The chosen penalty, as `alpha` of scikit-learn's Ridge on the standardized features."""
    scores: dict[float, float]
    """Held-out correlation within groups, mean over genes, for every penalty tried."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict (N, G) from (N, D)."""
        return (features - self.mean) / self.scale @ self.projection @ self.loadings + self.intercept


@dataclass(frozen=True)
class Fold:
    """One split for cross-validation."""

    left_out: np.ndarray
    """(N,) bool."""
    known: np.ndarray
    """(N,) bool: the rows to fit on; some may be in neither."""


def group_folds(groups: np.ndarray) -> list[Fold]:
    """Leave out each group in turn."""
    return [Fold(groups == name, groups != name) for name in np.unique(groups)]


def fit_ridge(
    features: np.ndarray,
    targets: np.ndarray,
    folds: Sequence[Fold] = (),
    *,
    penalties: Sequence[float] = PENALTIES,
    rank: int | None = None,
) -> RidgeFit:
    """Fit (N, G) targets on (N, D) pooled features, in float64.

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
    directions = np.linalg.svd(ridge.standardize(features) @ weights, full_matrices=False)[2][:rank]
    return RidgeFit(
        ridge.mean, ridge.scale, weights @ directions.T, directions, ridge.intercept, penalty=penalty, scores=scores
    )


def pad_fit(fit: RidgeFit, rank: int) -> RidgeFit:
    """Fill a fit of lower rank up with programs that are always zero."""
    missing = rank - fit.projection.shape[1]
    projection = np.pad(fit.projection, ((0, 0), (0, missing)))
    return replace(fit, projection=projection, loadings=np.pad(fit.loadings, ((0, missing), (0, 0))))


class Ridge:
    """One singular value decomposition, then any penalty at the cost of a product."""

    def __init__(self, features: np.ndarray, targets: np.ndarray) -> None:
        self.mean, scale = features.mean(0), features.std(0)
        self.scale = np.where(scale > 1e-8 * (np.abs(self.mean) + 1), scale, 1.0)
        self.intercept = targets.mean(0)
        left, self.values, self.right = np.linalg.svd(self.standardize(features), full_matrices=False)
        self.rotated = left.T @ (targets - self.intercept)

    def standardize(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) / self.scale

    def weights(self, penalty: float) -> np.ndarray:
        shrunk = self.values / (self.values**2 + penalty)
        return self.right.T @ (shrunk[:, None] * self.rotated)


def cross_validate(
    features: np.ndarray, targets: np.ndarray, folds: Sequence[Fold], penalties: Sequence[float]
) -> dict[float, float]:
    """Return the mean over folds of the held-out correlation, by penalty."""
    if len(folds) < 2:
        raise PixnetValueError(
            f"Choosing among {len(penalties)} penalties needs at least 2 groups to leave out; got {len(folds)}. "
            "Give one penalty, or groups such as sections or spatial blocks."
        )
    scores = np.zeros(len(penalties))
    for fold in folds:
        ridge = Ridge(features[fold.known], targets[fold.known])
        left_out = ridge.standardize(features[fold.left_out])
        # Pearson, with the targets standardized once for all penalties; 0 in a fold where no gene varies.
        target = standardize_columns(targets[fold.left_out])
        predictions = (standardize_columns(left_out @ ridge.weights(penalty)) for penalty in penalties)
        scores += [np.nan_to_num(mean_of_known(column_means(one * target))) for one in predictions]
    return dict(zip(penalties, (scores / len(folds)).tolist(), strict=True))


def check_finite(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise PixnetValueError(f"The ridge needs a finite table of {name}; got shape {values.shape}, {bad} not finite.")
    return values
