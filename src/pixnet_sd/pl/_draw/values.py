"""Values that color shapes: a gene, or a column of the table or of the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._keys import check_known, expression_key, resolve_key
from pixnet_sd._sdata import comparison, counts
from pixnet_sd._sdata.elements import annotated_regions
from pixnet_sd._sdata.maps import LOG
from pixnet_sd._sdata.provenance import SLOT
from pixnet_sd._sdata.shapes import are_circles

SAMPLED_ROWS = 1000
"""Rows that show whether a table was normalized since it was predicted."""


@dataclass(frozen=True)
class Numbers:
    """One number per shape."""

    values: np.ndarray
    """(n,) float; NaN for shapes without a value."""
    unit: str | None


@dataclass(frozen=True)
class Categories:
    """One category per shape."""

    codes: np.ndarray
    """(n,) int: index into `names`; -1 for shapes without a category."""
    names: tuple[str, ...]
    colors: tuple[str, ...] | None
    """Colors stored in the table, as by scanpy."""


Values = Numbers | Categories


def find_table(sdata: SpatialData, shapes_key: str, table_key: str | None) -> str | None:
    """Return `table_key`, or `{shapes}_expression`, or the only table that annotates the shapes."""
    annotating = [name for name, table in sdata.tables.items() if shapes_key in annotated_regions(table)]
    if table_key is not None:
        return resolve_key("tables", table_key, sdata.tables, "table_key")
    if expression_key(shapes_key) in annotating:
        return expression_key(shapes_key)
    return resolve_key(f"tables that annotate {shapes_key!r}", None, annotating, "table_key") if annotating else None


def read_values(
    sdata: SpatialData, shapes_key: str, name: str, *, table_key: str | None = None, layer: str | None = None
) -> Values:
    """Read the values of `name` in the order of the shapes."""
    frame = sdata.shapes[shapes_key]
    own = name in frame.columns and name != "geometry" and not (name == "radius" and are_circles(frame))
    if own and table_key is None:
        return to_values(frame[name], None)
    key = find_table(sdata, shapes_key, table_key)
    if key is None:
        raise PixnetKeyError(
            f"{name!r} is not a column of the shapes {shapes_key!r}, and no table annotates them. "
            "Make one with tl.aggregate."
        )
    return table_values(sdata, shapes_key, name, key, layer)


def table_values(sdata: SpatialData, shapes_key: str, name: str, table_key: str, layer: str | None) -> Values:
    table = sdata.tables[table_key]
    check_known([name], [*table.obs.columns, *table.var_names], f"table {table_key!r} (obs columns and genes)")
    if name in table.obs and name in table.var_names:
        raise PixnetValueError(f"{name!r} is a gene and an obs column of table {table_key!r}; rename one of them.")
    selected, instances = counts.annotating_rows(table, table_key, shapes_key)
    index = sdata.shapes[shapes_key].index
    rows = counts.find_positions(sdata.shapes[shapes_key], shapes_key, instances, table_key)
    if name in table.obs:
        column = pd.Series(table.obs.loc[selected, name].array, index=index[rows]).reindex(index)
        return to_values(column, table.uns.get(f"{name}_colors"))
    values = np.full(len(index), np.nan)
    values[rows] = gene_values(table[selected, name], table_key, layer)
    return Numbers(values, None if layer else unit_now(table, table_key))


def unit_now(table: AnnData, table_key: str) -> str | None:
    """Return the unit that a table records, or what it was made into since, as far as that shows."""
    recorded = table.uns.get(SLOT, {}).get("unit")
    if "log1p" in table.uns:
        return LOG
    if recorded in (None, LOG):
        return recorded
    some = table[np.unique(np.linspace(0, table.n_obs - 1, SAMPLED_ROWS).astype(int))]
    return "normalized" if comparison.sign_of_change(some, table_key, recorded) else recorded


def gene_values(column: AnnData, table_key: str, layer: str | None) -> np.ndarray:
    if layer is not None and layer not in column.layers:
        raise PixnetKeyError(f"layer={layer!r} is not in table {table_key!r}; it has {counts.layer_names(column)}.")
    data = column.X if layer is None else column.layers[layer]
    # Tables that are read lazily hold dask arrays.
    data = data.compute() if hasattr(data, "compute") else data
    dense = data.toarray() if hasattr(data, "toarray") else np.asarray(data)
    return dense.astype(float).ravel()


def to_values(column: pd.Series, colors: Sequence[str] | None) -> Values:
    """Convert numeric columns to `Numbers`; text, categories and booleans to `Categories`."""
    # pandas counts booleans as numeric.
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return Numbers(column.to_numpy(dtype=float, na_value=np.nan), None)
    categorical = column.astype("category").cat
    names = tuple(map(str, categorical.categories))
    stored = None if colors is None else tuple(map(str, colors))
    return Categories(categorical.codes.to_numpy(), names, stored)
