"""Read a predicted and a measured table of one shapes element, row by row and gene by gene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import choose
from pixnet_sd._sdata import elements
from pixnet_sd._sdata.counts import annotating, gene_columns, positions, read_counts, regions
from pixnet_sd._sdata.geometry import areas

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
    predicted_table: str,
    measured_table: str,
    shapes_key: str | None = None,
    *,
    layer: str | None = None,
    genes: Sequence[str] = (),
) -> Pair:
    """All shapes and genes that both tables have; `genes` must be among them."""
    elements.check_sdata(sdata)
    choose("tables", predicted_table, sdata.tables, "predicted_table")
    choose("tables", measured_table, sdata.tables, "measured_table")
    key = shapes_of_both(sdata, predicted_table, measured_table, shapes_key)
    table = sdata.tables[predicted_table]
    shared = genes_of_both(sdata, predicted_table, measured_table, genes)
    values, rows = read_values(sdata, predicted_table, key, shared)
    measured = read_counts(sdata, measured_table, key, layer=layer, genes=shared)
    _, here, there = np.intersect1d(rows, measured.rows, assume_unique=True, return_indices=True)
    return Pair(
        shapes_key=key,
        genes=measured.genes,
        predicted=values[here],
        counts=measured.matrix[there],
        totals=measured.totals[there],
        area=areas(sdata.shapes[key])[rows[here]],
        rows_unmatched=len(rows) + len(measured.rows) - 2 * len(here),
        genes_missing=table.n_vars - len(shared),
    )


def shapes_of_both(sdata: SpatialData, one: str, other: str, asked: str | None) -> str:
    first, second = regions(sdata.tables[one]), regions(sdata.tables[other])
    common = [name for name in first if name in second and name in sdata.shapes]
    if not common:
        raise PixnetValueError(
            f"Tables {one!r} and {other!r} annotate no shapes element in common: {first} against {second}. "
            "Predict for the shapes that were measured, e.g. tl.aggregate(sdata, shapes_key)."
        )
    return choose(f"shapes that both {one!r} and {other!r} annotate", asked, common, "shapes_key")


def genes_of_both(sdata: SpatialData, predicted: str, measured: str, asked: Sequence[str]) -> list[str]:
    """Genes by name, in the order of the prediction. Those asked for must be there; of the rest, enough."""
    here, there = sdata.tables[predicted].var_names, sdata.tables[measured].var_names
    gene_columns(here, asked, predicted)
    gene_columns(there, asked, measured)
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


def read_values(
    sdata: SpatialData, table_key: str, shapes_key: str, genes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, genes) of a table as it is, and for each row the position of its shape in the element."""
    table = sdata.tables[table_key]
    columns = gene_columns(table.var_names, genes, table_key)
    selected, instances = annotating(table, table_key, shapes_key)
    rows = positions(sdata.shapes[shapes_key], shapes_key, instances, table_key)
    return dense(table[selected, columns], table_key), rows


def dense(table: AnnData, table_key: str) -> np.ndarray:
    """(rows, genes): what a table predicts, however it is stored."""
    data = table.to_memory().X
    if data is None:
        raise PixnetValueError(f"Table {table_key!r} has no X, so it predicts nothing.")
    return np.asarray(data.toarray() if sp.issparse(data) else data)
