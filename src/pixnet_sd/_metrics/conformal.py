"""Prediction intervals whose coverage holds for new sections: split conformal, one quantile per gene. numpy only.

The shapes of a section share its staining, its depth and its patient, so they are not exchangeable with the shapes of
another section; sections are, where they were collected alike. So each calibration section weighs as one, however many
shapes it has, and n sections buy a level of at most n / (n + 1).

Two statements can be had, both for finite samples and any model, if the new section is exchangeable with those that
calibrate and none of them was used in training:

- marginal: a random shape of a new section lies in its interval with probability `level` or more. The scores of a
  section, each with weight 1 / ((n + 1) x shapes), and weight 1 / (n + 1) at infinity for the section to come (Lee,
  Barber & Willett 2023, "Distribution-free inference with hierarchical data"; without the weight at infinity it is
  the pooling of CDFs in Dunn, Wasserman & Ramdas 2023, "Distribution-free prediction sets for two-layer hierarchical
  models", which holds only as sections grow many);
- by section, with `confidence`: in a new section a share `level` of all shapes or more lies in the intervals, with
  probability `confidence`. The section itself is then what is predicted, by the quantile of its scores.

Not guaranteed: coverage in one region, cell type or level of expression, coverage for one given section, or all genes
at once. Where serial sections of one patient calibrate, the statement is about further sections of that patient;
give each patient as one group to speak about patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from pixnet_sd._errors import PixnetValueError

ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Conformal:
    """Half widths of intervals, in units of the predicted spread."""

    quantiles: np.ndarray
    """(genes,); infinite where too few sections have values of a gene."""
    level: float
    """Share of shapes to be covered."""
    n_sections: int
    """How many sections calibrated it."""
    confidence: float | None = None
    """Probability that a section's own coverage reaches the level; None for the marginal statement."""

    def interval(self, mean: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (shapes, genes). Of counts, the lower end may be cut at 0 without loss of coverage."""
        half_width = self.quantiles * spread
        return mean - half_width, mean + half_width


def residual_scores(measured: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Divide the distance of each measurement from its prediction by the spread."""
    return np.asarray(np.abs(measured - mean) / spread)


def calibrate(scores: Sequence[np.ndarray], level: float = 0.8, *, confidence: float | None = None) -> Conformal:
    """Compute quantiles of the residual scores (shapes, genes) of held-out sections; NaN is not measured."""
    check_scores(scores)
    check_share("level", level)
    if confidence is None:
        check_sections("level", level, len(scores))
        return Conformal(marginal_quantiles(scores, level), level, len(scores))
    check_share("confidence", confidence)
    check_sections("confidence", confidence, len(scores))
    return Conformal(section_quantiles(scores, level, confidence), level, len(scores), confidence)


def marginal_quantiles(scores: Sequence[np.ndarray], level: float) -> np.ndarray:
    """Return (genes,): the smallest score up to which the weights reach the level."""
    weights = np.concatenate([equal_weights(own) for own in scores]) / (len(scores) + 1)
    values = drop_nan(np.concatenate(list(scores)))
    order = np.argsort(values, axis=0)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0) >= level - ROUNDING
    first = np.argmax(reached, axis=0)
    quantiles = np.take_along_axis(values, order, axis=0)[first, np.arange(values.shape[1])]
    return np.where(reached.any(axis=0), quantiles, np.inf)


def equal_weights(scores: np.ndarray) -> np.ndarray:
    """Weight what a section has of a gene, with sum 1; without values all are 0 and its share is at infinity."""
    present = ~np.isnan(scores)
    return present / np.maximum(present.sum(axis=0), 1)


def section_quantiles(scores: Sequence[np.ndarray], level: float, confidence: float) -> np.ndarray:
    """Return (genes,): the order statistic, over sections, of what each needs to cover its own shapes."""
    needed = np.sort([own_quantiles(own, level) for own in scores], axis=0)
    rank = ceil((len(scores) + 1) * confidence - ROUNDING)
    return np.asarray(needed[rank - 1])


def own_quantiles(scores: np.ndarray, level: float) -> np.ndarray:
    """Return (genes,): the smallest score that covers a share `level` of one section; infinite without values."""
    count = (~np.isnan(scores)).sum(axis=0)
    rank = np.maximum(np.ceil(level * count - ROUNDING).astype(int), 1)
    return np.sort(drop_nan(scores), axis=0)[rank - 1, np.arange(scores.shape[1])]


def drop_nan(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(scores), np.inf, scores)


def check_scores(scores: Sequence[np.ndarray]) -> None:
    shapes = [own.shape for own in scores]
    if not shapes or any(len(shape) != 2 or shape[0] == 0 or shape[1] != shapes[0][-1] for shape in shapes):
        raise PixnetValueError(
            f"Calibration needs one table (shapes, genes) of scores per section, all with the same genes; got {shapes}."
        )
    lowest = min(float(np.nanmin(own, initial=np.inf)) for own in scores)
    if lowest < 0:
        raise PixnetValueError(f"Residual scores are distances and cannot be negative; the lowest is {lowest:.4g}.")


def check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise PixnetValueError(f"{name}={value} was asked for; it must lie between 0 and 1, both excluded.")


def check_sections(name: str, value: float, found: int) -> None:
    """Check that the level leaves 1 / (n + 1) of the weight for the unseen section."""
    if value > found / (found + 1) + ROUNDING:
        needed = ceil(value / (1 - value) - ROUNDING)
        raise PixnetValueError(
            f"{name}={value} needs at least {needed} calibration sections; there are {found}, which allow up to "
            f"{found / (found + 1):.3f}. Add sections, or ask for less."
        )
