"""How a predicted and a measured table are brought to one scale: the rule that scores and plots share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import resolve_key
from pixnet_sd._metrics.scores import rate_totals
from pixnet_sd._sdata import elements
from pixnet_sd._sdata.counts import annotating_rows, find_positions, gene_columns, read_counts
from pixnet_sd._sdata.elements import annotated_regions
from pixnet_sd._sdata.maps import LOG, RATE
from pixnet_sd._sdata.provenance import SLOT
from pixnet_sd._sdata.shapes import measure_areas

UNITS = ("counts", RATE, LOG)
SAME_SUMS = 1e-4
"""Row sums that agree to this share are equal: single precision, and sums over tens of thousands of genes."""

LARGEST_LOG = 16.0
"""ln of nine million: normalized counts are below."""


def unit_of(table: AnnData, table_key: str, asked: str | None) -> str:
    """Find the unit of a prediction: as asked, or as the table states unless it was normalized or logged since."""
    unit = check_unit(asked or table.uns.get(SLOT, {}).get("unit"), table_key)
    sign = None if asked else sign_of_change(table, table_key, unit)
    if sign is None:
        return unit
    before, again = f"sdata[{table_key!r}].X = sdata[{table_key!r}].layers['counts']", "Predict it again"
    remedy = f"Put back what was predicted, {before}" if "counts" in table.layers else f"{again} and normalize a copy"
    raise PixnetValueError(
        f"The prediction {table_key!r} states that it holds {unit!r}, but {sign}: it was normalized or logged after it "
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
    """Describe why a table is not as it was predicted; empty if it is."""
    if "log1p" in table.uns:
        return "uns['log1p'] says that scanpy took its logarithm"
    if unit == LOG:
        return None
    values = to_dense(table, table_key).astype(float)
    known = values[np.isfinite(values).all(axis=1) & (values > 0).any(axis=1)]
    if same_sums(known):
        return f"all {len(known)} rows add up to {known.sum(axis=1).mean():.6g}"
    if known.size and known.max() < LARGEST_LOG and same_sums(np.expm1(known)):
        return f"all {len(known)} rows of exp(X) - 1 add up to {np.expm1(known).sum(axis=1).mean():.6g}"
    return None


def same_sums(values: np.ndarray) -> bool:
    """Check whether rows differ but have equal sums."""
    if len(values) < 2 or np.allclose(values, values[0], rtol=SAME_SUMS):
        return False
    sums = values.sum(axis=1)
    return bool(np.isfinite(sums).all() and np.ptp(sums) <= SAME_SUMS * sums.mean())


def have_profiles(pair: Pair, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Find which shapes have a measured profile, and which a predicted one."""
    measured, predicted = pair.totals > 0, ~np.isnan(pair.predicted).any(axis=1)
    if unit != LOG and not is_rate(pair, unit):
        predicted &= (pair.predicted != 0).any(axis=1)
    return measured, predicted


def is_rate(pair: Pair, unit: str) -> bool:
    """Compare where expected counts of a single gene are high and low: one gene has no profile."""
    return unit != LOG and len(pair.genes) == 1


def on_one_scale(pair: Pair, unit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return (measured totals, predicted values, their totals), to compare ln(1 + 1e4 values / totals).

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
    measured, own = rate_totals(expected, pair.counts.sum(), pair.totals)
    return measured, expected, own


def share_of_counts(pair: Pair) -> float:
    """Compute the share that the genes of both tables have of all counts."""
    return float(pair.counts.sum() / pair.totals.sum())


LEAST_SHARED = 0.5
"""Of the genes of the smaller table. Fewer, and the two probably name genes differently."""


@dataclass(frozen=True)
class Pair:
    """What two tables say of the shapes and genes that both have."""

    shapes_key: str
    """The element that both annotate."""
    genes: tuple[str, ...]
    """In the order of the predicted table."""
    predicted: np.ndarray
    """(shapes, genes) as in the table; NaN where nothing was predicted."""
    counts: sp.csr_array
    """(shapes, genes), raw."""
    totals: np.ndarray
    """(shapes,) counts over all genes that were measured."""
    area: np.ndarray
    """(shapes,) in squared units of the element's own coordinates."""
    rows_unmatched: int
    """Rows of either table whose shape the other does not have."""
    genes_missing: int
    """Genes of the prediction that were not measured."""

    def of_shapes(self, keep: np.ndarray) -> Pair:
        rows = np.flatnonzero(keep)
        parts = {name: getattr(self, name)[rows] for name in ("predicted", "counts", "totals", "area")}
        return replace(self, **parts)


def read_pair(
    sdata: SpatialData,
    predicted_key: str,
    measured_key: str,
    shapes_key: str | None = None,
    *,
    layer: str | None = None,
    genes: Sequence[str] = (),
) -> Pair:
    """Read all shapes and genes that both tables have; `genes` must be among them."""
    elements.check_sdata(sdata)
    resolve_key("tables", predicted_key, sdata.tables, "predicted_key")
    resolve_key("tables", measured_key, sdata.tables, "measured_key")
    key = shapes_of_both(sdata, predicted_key, measured_key, shapes_key)
    table = sdata.tables[predicted_key]
    shared = genes_of_both(sdata, predicted_key, measured_key, genes)
    values, rows = read_table_values(sdata, predicted_key, key, shared)
    measured = read_counts(sdata, measured_key, key, layer=layer, genes=shared)
    _, here, there = np.intersect1d(rows, measured.rows, assume_unique=True, return_indices=True)
    return Pair(
        shapes_key=key,
        genes=measured.genes,
        predicted=values[here],
        counts=measured.matrix[there],
        totals=measured.totals[there],
        area=measure_areas(sdata.shapes[key])[rows[here]],
        rows_unmatched=len(rows) + len(measured.rows) - 2 * len(here),
        genes_missing=table.n_vars - len(shared),
    )


def shapes_of_both(sdata: SpatialData, one: str, other: str, asked: str | None) -> str:
    first, second = annotated_regions(sdata.tables[one]), annotated_regions(sdata.tables[other])
    common = [name for name in first if name in second and name in sdata.shapes]
    if not common:
        raise PixnetValueError(
            f"Tables {one!r} and {other!r} annotate no shapes element in common: {first} against {second}. "
            "Predict for the shapes that were measured, e.g. tl.aggregate(sdata, shapes_key)."
        )
    return resolve_key(f"shapes that both {one!r} and {other!r} annotate", asked, common, "shapes_key")


def genes_of_both(sdata: SpatialData, predicted: str, measured: str, asked: Sequence[str]) -> list[str]:
    """Match genes by name, in the order of the prediction; those asked for, or enough of them, must be there."""
    here, there = sdata.tables[predicted].var_names, sdata.tables[measured].var_names
    gene_columns(here, asked, f"table {predicted!r}")
    gene_columns(there, asked, f"table {measured!r}")
    shared = here[here.isin(there)]
    if len(shared) < LEAST_SHARED * min(len(here), len(there)) and not len(asked):
        raise PixnetValueError(few_genes(predicted, here, measured, there, len(shared)))
    return list(map(str, shared))


def few_genes(predicted: str, here: pd.Index, measured: str, there: pd.Index, shared: int) -> str:
    return (
        f"Only {shared} genes are in both {predicted!r} ({len(here)} genes, e.g. {here[:3].tolist()}) and "
        f"{measured!r} ({len(there)} genes, e.g. {there[:3].tolist()}); at least {LEAST_SHARED:.0%} of the smaller "
        "table are needed. Use the same kind of names in both (symbols or Ensembl ids, without version), or pass "
        "genes=[...] to score chosen ones."
    )


def read_table_values(
    sdata: SpatialData, table_key: str, shapes_key: str, genes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Read (rows, genes) of a table as it is, and for each row the position of its shape in the element."""
    table = sdata.tables[table_key]
    columns = gene_columns(table.var_names, genes, f"table {table_key!r}")
    selected, instances = annotating_rows(table, table_key, shapes_key)
    rows = find_positions(sdata.shapes[shapes_key], shapes_key, instances, table_key)
    return to_dense(table[selected, columns], table_key), rows


def to_dense(table: AnnData, table_key: str) -> np.ndarray:
    """Return X of a predicted table as a dense array (rows, genes)."""
    data = table.to_memory().X
    if data is None:
        raise PixnetValueError(f"Table {table_key!r} has no X, so it predicts nothing.")
    return np.asarray(data.toarray() if sp.issparse(data) else data)
