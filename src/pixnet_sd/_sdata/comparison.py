"""How a predicted and a measured table are brought to one scale: the rule that scores and plots share."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from pixnet_sd import _scores
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata.maps import LOG, RATE
from pixnet_sd._sdata.pairs import Pair, dense
from pixnet_sd._sdata.provenance import SLOT

UNITS = ("counts", RATE, LOG)
SAME_SUMS = 1e-4
"""Row sums that agree to this share are equal: single precision, and sums over tens of thousands of genes."""

LARGEST_LOG = 16.0
"""ln of nine million: normalised counts are below."""


def unit_of(table: AnnData, table_key: str, asked: str | None) -> str:
    """What a prediction holds: as asked, or as the table states, unless it was normalised or logged since then."""
    unit = check_unit(asked or table.uns.get(SLOT, {}).get("unit"), table_key)
    sign = None if asked else sign_of_change(table, table_key, unit)
    if sign is None:
        return unit
    before, again = f"sdata[{table_key!r}].X = sdata[{table_key!r}].layers['counts']", "Predict it again"
    remedy = f"Put back what was predicted, {before}" if "counts" in table.layers else f"{again} and normalise a copy"
    raise PixnetValueError(
        f"The prediction {table_key!r} states that it holds {unit!r}, but {sign}: it was normalised or logged after it "
        f"was predicted. {remedy}, or say what X holds now: unit={LOG!r} for ln(1 + counts per 10,000), or "
        f"unit={unit!r} if X is as it was predicted."
    )


def check_unit(unit: str | None, table_key: str) -> str:
    if unit not in UNITS:
        found = "does not state its unit" if unit is None else f"would be in {unit!r}"
        raise PixnetValueError(
            f"The prediction {table_key!r} {found}. Pass unit=... with one of {', '.join(map(repr, UNITS))}."
        )
    return unit


def sign_of_change(table: AnnData, table_key: str, unit: str) -> str | None:
    """What tells that a table is not as it was predicted, in words."""
    if "log1p" in table.uns:
        return "uns['log1p'] says that scanpy took its logarithm"
    if unit == LOG:
        return None
    values = dense(table, table_key).astype(float)
    known = values[np.isfinite(values).all(axis=1) & (values > 0).any(axis=1)]
    if same_sums(known):
        return f"all {len(known)} rows add up to {known.sum(axis=1).mean():.6g}"
    if known.size and known.max() < LARGEST_LOG and same_sums(np.expm1(known)):
        return f"all {len(known)} rows of exp(X) - 1 add up to {np.expm1(known).sum(axis=1).mean():.6g}"
    return None


def same_sums(values: np.ndarray) -> bool:
    """Rows that differ, whose sums do not."""
    if len(values) < 2 or np.allclose(values, values[0], rtol=SAME_SUMS):
        return False
    sums = values.sum(axis=1)
    return bool(np.isfinite(sums).all() and np.ptp(sums) <= SAME_SUMS * sums.mean())


def have_profiles(pair: Pair, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Which shapes have a measured profile, and which a predicted one."""
    measured, predicted = pair.totals > 0, ~np.isnan(pair.predicted).any(axis=1)
    if unit != LOG and not is_rate(pair, unit):
        predicted &= (pair.predicted != 0).any(axis=1)
    return measured, predicted


def is_rate(pair: Pair, unit: str) -> bool:
    """Expected counts of a single gene have no profile; what is compared is where they are high and low."""
    return unit != LOG and len(pair.genes) == 1


def on_one_scale(pair: Pair, unit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(measured totals, predicted values, their totals): both sides are ln(1 + 1e4 values / totals).

    Without totals the predicted values are logs already. The totals of a rate are one number for the section.
    """
    if unit == LOG:
        return pair.totals, pair.predicted, None
    if (pair.predicted < 0).any():
        raise PixnetValueError(
            f"Expected counts cannot be negative; the prediction goes down to {pair.predicted.min():.4g}. "
            f"If it holds log expression, pass unit={LOG!r}."
        )
    if not is_rate(pair, unit):
        return pair.totals, pair.predicted, pair.predicted.sum(axis=1, dtype=float) / share_of_counts(pair)
    expected = pair.predicted * pair.area[:, None] if unit == RATE else pair.predicted
    measured, own = _scores.rate_totals(expected, pair.counts.sum(), pair.totals)
    return measured, expected, own


def share_of_counts(pair: Pair) -> float:
    """The share that the genes of both tables have of all counts."""
    return float(pair.counts.sum() / pair.totals.sum())
