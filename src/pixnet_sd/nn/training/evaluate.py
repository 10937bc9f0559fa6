"""Scores of predictions on measured shapes, for the choice of an epoch and for the model's card. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixnet_sd._metrics.scores import LOW_CEILING, PER, log_profile, mean_of_known, panel_ceiling, pearson, rate_totals
from pixnet_sd.nn.slides import MeasuredSet


def score_predictions(predicted: np.ndarray, measured: MeasuredSet, additive: bool) -> np.ndarray:
    """Compute (genes,) Pearson between log profiles; additive predictions are expected counts, others log profiles."""
    counts, totals = measured.counts.toarray(), measured.totals
    if additive and counts.shape[1] == 1:
        return pearson(*rate_profiles(predicted, counts, totals))
    if additive:
        share = float(counts.sum() / totals.sum())
        predicted = np.log1p(PER * share * predicted / predicted.sum(axis=1, keepdims=True))
    return pearson(predicted, log_profile(counts, totals))


def rate_profiles(predicted: np.ndarray, counts: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and measured (shapes, 1) of one gene, at the mean depth; NaN in shapes without any counts."""
    same, own = rate_totals(predicted, counts.sum(), totals)
    return log_profile(predicted, own), log_profile(counts, np.where(totals > 0, same, np.nan))


def describe_ceiling(validation: Sequence[MeasuredSet], genes: int) -> str:
    """Say for the model's card what limits scores of few genes; nothing for panels of normal size."""
    if genes == 1:
        return "; compared as a rate: one gene has no profile"
    limits = [panel_ceiling(one.counts, one.totals, np.arange(genes)) for one in validation]
    limit = mean_of_known(np.array(limits))
    if not limit < LOW_CEILING:
        return ""
    return f"; as shares among {genes} genes, for which the measured counts themselves would score {limit:.2f}"
