"""Read measured tables: raw counts for the shapes of one element, in any storage that AnnData has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from spatialdata import SpatialData
from spatialdata.models import get_table_keys

from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError
from pixnet_sd._sdata.shapes import check_index


@dataclass(frozen=True)
class Counts:
    """Counts of the shapes that were measured."""

    matrix: sp.csr_array
    """Shapes x genes, non-negative whole numbers."""
    rows: np.ndarray
    """For each row, the position of its shape in the shapes element."""
    totals: np.ndarray
    """Each row's sum over all genes of the table, also those not asked for."""
    genes: tuple[str, ...]


def read_counts(
    sdata: SpatialData, table_key: str, shapes_key: str, *, layer: str | None = None, genes: Sequence[str] | None = None
) -> Counts:
    """Raw counts of the table rows that annotate one shapes element, matched by their instance ids."""
    table = sdata.tables[table_key]
    selected, instances = annotating_rows(table, table_key, shapes_key)
    rows = find_positions(sdata.shapes[shapes_key], shapes_key, instances, table_key)
    matrix = to_csr(table[selected], layer, table_key)
    check_counts(matrix, table_key, layer)
    columns = gene_columns(table.var_names, genes, f"table {table_key!r}")
    names = tuple(map(str, table.var_names[columns]))
    return Counts(matrix[:, columns], rows, np.asarray(matrix.sum(axis=1)).ravel(), names)


def annotating_rows(table: AnnData, table_key: str, shapes_key: str) -> tuple[np.ndarray, pd.Series]:
    """Find the rows of a table that annotate a shapes element, and the instances that they name."""
    try:
        regions, region_key, instance_key = get_table_keys(table)
    except ValueError as error:
        raise PixnetValueError(
            f"Table {table_key!r} annotates nothing, so its rows cannot be matched to {shapes_key!r}. "
            "Parse it with spatialdata.models.TableModel.parse(region=..., region_key=..., instance_key=...)."
        ) from error
    named = [regions] if isinstance(regions, str) else list(regions)
    if shapes_key not in named:
        raise PixnetValueError(f"Table {table_key!r} annotates {named}, not the shapes {shapes_key!r}.")
    selected = (table.obs[region_key] == shapes_key).to_numpy()
    return selected, table.obs.loc[selected, instance_key]


def find_positions(frame: pd.DataFrame, shapes_key: str, instances: pd.Series, table_key: str) -> np.ndarray:
    """Find where each instance is in the shapes element: there, once, and of the same type."""
    check_index(frame, shapes_key)
    found = frame.index.get_indexer(pd.Index(instances))
    if (found < 0).any():
        unknown = instances.to_numpy()[found < 0]
        raise PixnetValueError(
            f"{len(unknown)} of {len(instances)} rows of table {table_key!r} name instances that shapes "
            f"{shapes_key!r} do not have, e.g. {unknown[:3].tolist()} ({instances.dtype}); its index holds "
            f"{frame.index[:3].tolist()} ({frame.index.dtype}). Make ids and types the same."
        )
    if len(np.unique(found)) < len(found):
        repeated = instances[instances.duplicated()].unique()[:3].tolist()
        raise PixnetValueError(f"Table {table_key!r} has several rows for one instance of {shapes_key!r}: {repeated}.")
    return found


def to_csr(table: AnnData, layer: str | None, table_key: str) -> sp.csr_array:
    if layer is not None and layer not in table.layers:
        raise PixnetKeyError(f"layer={layer!r} is not in table {table_key!r}; it has {layer_names(table)}.")
    loaded = table.to_memory() if table.isbacked or table.is_view else table
    data = loaded.X if layer is None else loaded.layers[layer]
    if data is None:
        raise PixnetValueError(f"Table {table_key!r} has no X. Pass layer=..., one of {layer_names(table)}.")
    data = data.compute() if hasattr(data, "compute") else data
    return sp.csr_array(data)


def layer_names(table: AnnData) -> list[str]:
    """Anndata 0.13 counts X among them, as None."""
    return sorted(name for name in table.layers if name is not None)


def check_counts(matrix: sp.csr_array, table_key: str, layer: str | None) -> None:
    place = f"table {table_key!r}, " + ("X" if layer is None else f"layer {layer!r}")
    values = matrix.data
    if not np.isfinite(values).all():
        raise PixnetValueError(f"Counts hold {int((~np.isfinite(values)).sum())} NaN or infinite values ({place}).")
    if (values < 0).any() or (values != np.round(values)).any():
        odd = values[(values < 0) | (values != np.round(values))][:3]
        raise PixnetValueError(
            f"Raw counts are needed, but {place} holds {odd.tolist()}: it looks normalized or logged. "
            "Pass the layer that holds the counts, e.g. layer='counts'."
        )


def gene_columns(available: pd.Index, genes: Sequence[str] | None, place: str) -> np.ndarray:
    """Columns of the genes asked for, in their order; every one must be there, once."""
    if genes is None:
        return np.arange(len(available))
    if not available.is_unique:
        repeated = available[available.duplicated()].unique()[:3].tolist()
        raise PixnetValueError(f"The {place} repeats gene names, e.g. {repeated}. Use .var_names_make_unique().")
    check_names(genes)
    columns = available.get_indexer(pd.Index(genes))
    if (columns < 0).any():
        missing = [gene for gene, column in zip(genes, columns, strict=True) if column < 0]
        raise PixnetKeyError(
            f"{len(missing)} of {len(genes)} genes are not in {place}, e.g. {missing[:5]}; "
            f"its names look like {available[:3].tolist()}."
        )
    return columns


def asked_genes(genes: Iterable[str] | None) -> list[str] | None:
    """Return the `genes` of a public call as a list of different names; None stands for all."""
    if genes is None:
        return None
    check_several(genes)
    names = list(map(str, genes))
    if not names:
        raise PixnetValueError("genes=[] names no gene. Name some, or leave it out for all.")
    check_names(names)
    return names


def check_names(genes: Sequence[str]) -> None:
    check_several(genes)
    repeated = [gene for gene, times in Counter(genes).items() if times > 1]
    if repeated:
        raise PixnetValueError(f"{len(repeated)} genes were asked for more than once: {repeated[:5]}. Name each once.")


def check_several(genes: Iterable[str]) -> None:
    if isinstance(genes, str):
        raise PixnetTypeError(f"genes={genes!r} is one string; pass a list, e.g. genes=[{genes!r}].")
    if not isinstance(genes, Iterable):
        raise PixnetTypeError(
            f"genes={genes!r} is no list of names. pp.select_genes(sdata, n_top_genes=...) marks a number of genes."
        )
