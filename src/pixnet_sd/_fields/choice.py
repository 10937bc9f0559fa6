"""How far counts should move a map, told by shapes that are held out in blocks. numpy and scipy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial import cKDTree

from pixnet_sd._fields.factors import Evidence, Fit, Prior, fit_map
from pixnet_sd._fields.lattice import Lattice
from pixnet_sd._metrics.scores import log_profile, pearson_or_zero

FOLDS = 5
BLOCK_PITCHES = 4
"""Side of a block that is held out whole, in distances between neighbors: singles beside their neighbors flatter."""
LENGTHS = (1.0, 2.0)
"""Of the fields, in distances between neighbors."""
STRENGTHS = (0.1, 0.3, 1.0)
LOADING_COUNTS = (5.0, 30.0)
UNCHANGED = Prior(1.0, 0.0, np.inf)
MOST_SHAPES = 20_000
"""Shapes by which a prior is chosen, in whole blocks."""


@dataclass(frozen=True)
class Choice:
    """A prior, and how each gene scores on shapes that were held out."""

    prior: Prior
    plain: np.ndarray
    """(genes,) correlation of profiles for the map as it was."""
    smoothed: np.ndarray
    """The same for neighbors' counts alone."""
    refined: np.ndarray


def measure_pitch(centers_px: np.ndarray) -> float:
    """Measure the median distance to the nearest neighbor."""
    return float(np.median(cKDTree(centers_px).query(centers_px, 2)[0][:, 1]))


def split_blocks(centers_px: np.ndarray, side_px: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the block of each shape, and its fold."""
    cells = np.floor(centers_px / side_px).astype(int)
    blocks, block = np.unique(cells, axis=0, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(blocks)) % FOLDS
    return block.ravel(), fold[block.ravel()]


def choose_prior(
    evidence: Evidence, loadings: np.ndarray, shape: tuple[int, int], strength: float | None = None
) -> Choice:
    """Choose the prior with the best mean correlation on held-out blocks, and score all genes with it."""
    pitch = measure_pitch(evidence.centers_px)
    block, fold = split_blocks(evidence.centers_px, BLOCK_PITCHES * pitch)
    kept = np.flatnonzero(np.cumsum(np.bincount(block))[block] <= MOST_SHAPES)
    some, folds = evidence.take(kept), fold[kept]
    measured = profile(some.counts.toarray())

    def score(prior: Prior) -> np.ndarray:
        predicted = hold_out(some, folds, lambda rest: fit_map(rest, loadings, shape, prior))
        return pearson_or_zero(profile(predicted), measured)

    plain = pearson_or_zero(profile(some.programs @ loadings), measured)
    strengths = STRENGTHS if strength is None else (strength,)
    priors = [
        Prior(length * pitch, weight, counts)
        for length, weight, counts in product(LENGTHS, strengths, (*LOADING_COUNTS, np.inf))
    ]
    scores = [score(prior) for prior in priors]
    best = int(np.argmax([np.nanmean(one) for one in scores]))
    neighbors = max(
        (score_neighbors(some, folds, measured, length * pitch, shape) for length in LENGTHS), key=np.nanmean
    )
    return Choice(priors[best], plain, neighbors, scores[best])


def profile(counts: np.ndarray) -> np.ndarray:
    return log_profile(counts, counts.sum(axis=1))


def hold_out(evidence: Evidence, fold: np.ndarray, fit: Callable[[Evidence], Fit]) -> np.ndarray:
    """Predict the shapes of each fold by a fit to the others."""
    predicted = np.empty(evidence.counts.shape)
    for number in np.unique(fold):
        there = fold == number
        found = fit(evidence.take(np.flatnonzero(~there)))
        predicted[there] = found.predict(evidence.programs[there], evidence.centers_px[there])
    return predicted


def score_neighbors(
    evidence: Evidence, fold: np.ndarray, measured: np.ndarray, length_px: float, shape: tuple[int, int]
) -> np.ndarray:
    """Score what the counts of neighbors say by themselves, without a map."""
    lattice, counts = Lattice.of_length(shape, length_px), evidence.counts.toarray()
    weights, predicted = lattice.weights_at(evidence.centers_px), np.empty(counts.shape)
    for number in np.unique(fold):
        rest, there = fold != number, fold == number
        around = lattice.smooth(weights[rest].T @ counts[rest]) + counts[rest].mean(axis=0)
        predicted[there] = weights[there] @ around
    return pearson_or_zero(profile(predicted), measured)
