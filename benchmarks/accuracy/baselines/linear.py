"""Rows in closed form: the mean, and ridge regressions on color, on random and on frozen features of the spot's crop.

The recipe on features is that of HEST-1k (Jaume et al., NeurIPS 2024, arXiv 2406.16192): standardise, 256 principal
components, ridge. The penalty is chosen by leaving out each training section in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from benchmarks.accuracy.features import FAR, NEAR, SPOT, Look, Seen, color, encoded
from benchmarks.accuracy.protocol import Fold, Prediction, Study

from pixnet_sd._metrics.scores import pearson
from pixnet_sd.nn.network.views import VIEWS

COMPONENTS = 256
PENALTIES = tuple(float(10**power) for power in np.arange(0, 7.5, 0.5))
See = Callable[[str, int], Sequence[Seen]]
"""What is known of the spots of the section of that name, in that view; side by side."""


def mean(study: Study, fold: Fold, seed: int) -> Prediction:
    start = time.perf_counter()
    level = np.concatenate([fold.target(study.section(name)) for name in fold.training]).mean(axis=0)
    spots = len(study.section(fold.test).totals)
    return Prediction(np.tile(level, (1, spots, 1)), time.perf_counter() - start, 0.0)


def on_color(study: Study, fold: Fold, seed: int) -> Prediction:
    return ridge(study, fold, lambda name, view: [color(study, name)], views=1)


def on_random(study: Study, fold: Fold, seed: int) -> Prediction:
    """Weights as they are before any training: what the architecture alone gives."""
    return ridge(study, fold, lambda name, view: [encoded(study, name, Look(weights=seed, view=view))])


def on_frozen(study: Study, fold: Fold, seed: int) -> Prediction:
    return ridge(study, fold, lambda name, view: [encoded(study, name, replace(SPOT, view=view))])


def on_wide(study: Study, fold: Fold, seed: int) -> Prediction:
    """The same with the wide fields that the trained rows see: what these gain from their surroundings alone."""
    looks = SPOT, NEAR, FAR
    return ridge(study, fold, lambda name, view: [encoded(study, name, replace(look, view=view)) for look in looks])


def ridge(study: Study, fold: Fold, see: See, views: int = len(VIEWS)) -> Prediction:
    """The seconds of the features are counted, also where these were already there."""
    seen, tested = [see(name, 0) for name in fold.training], [see(fold.test, view) for view in range(views)]
    start = time.perf_counter()
    features = [side_by_side(looks) for looks in seen]
    targets = [fold.target(study.section(name)) for name in fold.training]
    penalty = best_penalty(features, targets)
    fit = Components(features, targets)
    trained = time.perf_counter()
    values = np.stack([fit.predict(side_by_side(looks), penalty) for looks in tested])
    return Prediction(
        values,
        trained - start + sum(seconds_of(looks) for looks in seen),
        (time.perf_counter() - trained) / views + seconds_of(tested[0]),
        chosen={"penalty": penalty},
    )


def side_by_side(looks: Sequence[Seen]) -> np.ndarray:
    return np.concatenate([look.whole for look in looks], axis=1).astype(float)


def seconds_of(looks: Sequence[Seen]) -> float:
    return sum(look.seconds for look in looks)


class Components:
    """A ridge on principal components, which keep their variances; any penalty at the cost of a product."""

    def __init__(self, features: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> None:
        joined, wanted = np.concatenate(features), np.concatenate(targets)
        scale = joined.std(axis=0)
        self.center, self.level = joined.mean(axis=0), wanted.mean(axis=0)
        self.scale = np.where(scale > 1e-8 * (np.abs(self.center) + 1), scale, np.inf)
        left, spread, directions = np.linalg.svd((joined - self.center) / self.scale, full_matrices=False)
        self.spread, self.directions = spread[:COMPONENTS], directions[:COMPONENTS].T
        self.rotated = left[:, :COMPONENTS].T @ (wanted - self.level)

    def predict(self, features: np.ndarray, penalty: float) -> np.ndarray:
        components = (features - self.center) / self.scale @ self.directions
        return components * (self.spread / (self.spread**2 + penalty)) @ self.rotated + self.level


def best_penalty(features: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> float:
    """By correlation on each training section, left out in turn."""
    scores = np.zeros(len(PENALTIES))
    for out, (seen, target) in enumerate(zip(features, targets, strict=True)):
        fit = Components([*features[:out], *features[out + 1 :]], [*targets[:out], *targets[out + 1 :]])
        scores += [np.nanmean(pearson(fit.predict(seen, penalty), target)) for penalty in PENALTIES]
    return PENALTIES[int(scores.argmax())]
