"""Which genes are predicted better than one map for all genes would be. numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixnet_sd._metrics.scores import standardize_columns

DRAWS = 200
# Share of the draws in which a gene must be better.
CONFIDENCE = 0.95
SMALLEST = 1e-12


def one_map(predicted: np.ndarray) -> np.ndarray:
    """Return (shapes, 1) the mean of all genes' standardized maps: where there is much of everything."""
    return np.nan_to_num(standardize_columns(predicted)).mean(axis=1, keepdims=True)


def find_reliable(sections: Sequence[tuple[np.ndarray, np.ndarray]], seed: int = 0) -> np.ndarray:
    """Find (genes,) those whose held-out correlation is above 0 and above that of one map for all genes.

    `sections` are pairs of predicted and measured (shapes, genes). Shapes of every section are drawn again; one map may
    have either sign, so its correlation counts without.
    """
    random, gained = np.random.default_rng(seed), 0.0
    for predicted, measured in sections:
        weights = random.multinomial(len(measured), np.full(len(measured), 1 / len(measured)), DRAWS).astype(float)
        own, control = weighted_pearson(predicted, measured, weights), one_map(predicted)
        gained = gained + own - np.abs(weighted_pearson(np.broadcast_to(control, measured.shape), measured, weights))
    return (np.asarray(gained) > 0).mean(axis=0) >= CONFIDENCE


def weighted_pearson(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute (draws, genes) correlations of columns with weights (draws, shapes); 0 where either does not vary."""
    one, other = (np.nan_to_num(standardize_columns(values)) for values in (one, other))
    shares = weights / weights.sum(axis=1, keepdims=True)
    means, others = shares @ one, shares @ other
    spread = (shares @ one**2 - means**2) * (shares @ other**2 - others**2)
    return (shares @ (one * other) - means * others) / np.sqrt(np.maximum(spread, SMALLEST))
