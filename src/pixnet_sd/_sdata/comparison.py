"""How a predicted and a measured table are brought to one scale: the rule that scores and plots share."""

from __future__ import annotations

import numpy as np

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata.maps import LOG, RATE
from pixnet_sd._sdata.pairs import Pair

UNITS = ("counts", RATE, LOG)


def check_unit(unit: str | None, table_key: str) -> str:
    if unit not in UNITS:
        found = "does not state its unit" if unit is None else f"would be in {unit!r}"
        raise PixnetValueError(
            f"The prediction {table_key!r} {found}. Pass unit=... with one of {', '.join(map(repr, UNITS))}."
        )
    return unit


def have_profiles(pair: Pair, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Which shapes have a measured profile, and which a predicted one."""
    measured, predicted = pair.totals > 0, ~np.isnan(pair.predicted).any(axis=1)
    if unit != LOG:
        predicted &= (pair.predicted != 0).any(axis=1)
    return measured, predicted


def own_totals(pair: Pair, unit: str) -> np.ndarray | None:
    """The prediction's totals over all genes, also those it does not have; None for logs, which need none."""
    if unit == LOG:
        return None
    if (pair.predicted < 0).any():
        raise PixnetValueError(
            f"Expected counts cannot be negative; the prediction goes down to {pair.predicted.min():.4g}. "
            f"If it holds log expression, pass unit={LOG!r}."
        )
    return np.asarray(pair.predicted.sum(axis=1, dtype=float) / share_of_counts(pair))


def share_of_counts(pair: Pair) -> float:
    """The share that the genes of both tables have of all counts."""
    return float(pair.counts.sum() / pair.totals.sum())
