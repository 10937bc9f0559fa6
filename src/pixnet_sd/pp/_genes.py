"""Select the genes to model."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import as_list, suggest_names
from pixnet_sd._sdata import counts, elements
from pixnet_sd._settings import logger

Flavor = Literal["mean", "highly_variable", "spatially_variable"]
TARGET_SUM = 1e4


def select_genes(
    sdata: SpatialData | Sequence[SpatialData],
    table_key: str | Sequence[str] | None = None,
    *,
    n_top_genes: int = 250,
    flavor: Flavor = "mean",
    layer: str | None = None,
    key_added: str = "selected",
    inplace: bool = True,
) -> pd.DataFrame | None:
    """Mark the genes to model in a table's ``var``, without filtering.

    :func:`pixnet_sd.tl.train` uses the marks. They are added in memory only, not in a store that backs the object.

    Parameters
    ----------
    sdata
        SpatialData object with the table, or several objects. Genes that all tables have are then ranked by the mean of
        their scores, and marked in each table.
    table_key
        Key of the table with raw counts, or several. Optional if each object has exactly one table.
    n_top_genes
        Number of genes to mark.
    flavor
        ``"mean"``: highest mean count per 10,000, as in the paper. ``"highly_variable"``:
        :func:`scanpy.pp.highly_variable_genes`. ``"spatially_variable"``: Moran's I by
        :func:`squidpy.gr.spatial_autocorr`, among the `4 n_top_genes` genes of highest mean.
    layer
        Layer with raw counts. Default: `X`.
    key_added
        Name of the boolean column. ``"{key_added}_score"`` is the score by which the genes are ranked.
    inplace
        Whether to add the columns to the table or return them.

    Returns
    -------
    The two columns if ``inplace=False``, otherwise `None`.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> ps.pp.select_genes(sdata, "spots_counts", n_top_genes=10)
    >>> int(sdata.tables["spots_counts"].var["selected"].sum())
    10
    """
    if flavor not in SCORES:
        raise PixnetValueError(
            f"flavor={flavor!r} is unknown; use one of {sorted(SCORES)}.{suggest_names(flavor, SCORES)}"
        )
    tables = find_count_tables(sdata, table_key)
    common = common_genes(tables)
    if not (isinstance(n_top_genes, Integral) and 1 <= n_top_genes <= len(common)):
        place = f"table {tables[0][0]!r} has" if len(tables) == 1 else f"the {len(tables)} tables have in common"
        raise PixnetValueError(
            f"n_top_genes={n_top_genes!r} must be a whole number from 1 up; {place} {len(common)} genes."
        )
    scores = mean_scores([score_table(key, table, layer, flavor, n_top_genes) for key, table in tables], common)
    # Stable, so that ties are resolved by the order of the genes on every machine; genes without a score come last.
    best = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:n_top_genes]
    columns = pd.DataFrame({key_added: False, f"{key_added}_score": scores}, index=common)
    columns.iloc[best, 0] = True
    if not inplace:
        return columns
    for key, table in tables:
        rows = common.get_indexer(table.var_names) if len(tables) > 1 else np.arange(len(common))
        table.var[key_added] = np.where(rows >= 0, columns[key_added].to_numpy()[rows], False)
        table.var[f"{key_added}_score"] = np.where(rows >= 0, scores[rows], np.nan)
        logger.info("marked %d genes in sdata.tables[%r].var[%r]", n_top_genes, key, key_added)
    return None


def find_count_tables(
    sdata: SpatialData | Sequence[SpatialData], table_key: str | Sequence[str] | None
) -> list[tuple[str, AnnData]]:
    """Find the tables to select from, with their keys."""
    objects = list(sdata) if isinstance(sdata, Sequence) else [sdata]
    asked = [None] if table_key is None else as_list(table_key, "table_key")
    found = [(key, one) for one in objects for key in (elements.find_table_key(one, name) for name in asked)]
    if not found:
        raise PixnetValueError("The list of sections is empty.")
    return [(key, one.tables[key]) for key, one in found]


def common_genes(tables: Sequence[tuple[str, AnnData]]) -> pd.Index:
    """Return the genes that all tables have, in the order of the first."""
    names: pd.Index = tables[0][1].var_names
    if len(tables) == 1:
        return names
    for key, table in tables:
        if not table.var_names.is_unique:
            raise PixnetValueError(f"Table {key!r} repeats gene names. Use .var_names_make_unique().")
        names = names[names.isin(table.var_names)]
    logger.info("%d genes are in all %d tables", len(names), len(tables))
    return names


def score_table(key: str, table: AnnData, layer: str | None, flavor: Flavor, n: int) -> pd.Series:
    matrix = counts.to_csr(table, layer, key)
    counts.check_counts(matrix, key, layer)
    return pd.Series(SCORES[flavor](normalize_counts(matrix), table, n), index=table.var_names)


def mean_scores(scores: Sequence[pd.Series], genes: pd.Index) -> np.ndarray:
    """Average the scores of several tables; those of one are returned as they are."""
    if len(scores) == 1:
        return scores[0].to_numpy()
    return pd.concat([one[genes] for one in scores], axis=1).mean(axis=1).to_numpy()


def normalize_counts(matrix: sp.csr_array) -> sp.csr_array:
    """Normalize to counts per 10,000; rows without counts stay zero."""
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    factors = np.divide(TARGET_SUM, totals, out=np.zeros(len(totals)), where=totals > 0)
    return sp.csr_array(sp.diags_array(factors) @ matrix)


def mean_rate_score(rates: sp.csr_array, table: AnnData, n: int) -> np.ndarray:
    return np.asarray(rates.mean(axis=0)).ravel()


def highly_variable_score(rates: sp.csr_array, table: AnnData, n: int) -> np.ndarray:
    import scanpy as sc  # takes seconds, so only where it is used

    found = sc.pp.highly_variable_genes(log_rates(rates, table), n_top_genes=n, inplace=False)
    return found["dispersions_norm"].to_numpy(dtype=float)


def spatially_variable_score(rates: sp.csr_array, table: AnnData, n: int) -> np.ndarray:
    import squidpy as sq

    if "spatial" not in table.obsm:
        raise PixnetValueError("flavor='spatially_variable' needs the positions of the rows in table.obsm['spatial'].")
    means = mean_rate_score(rates, table, n)
    candidates = np.sort(np.argsort(-means, kind="stable")[: 4 * n])
    logs = log_rates(rates, table)[:, candidates].copy()
    sq.gr.spatial_neighbors(logs, coord_type="generic", n_neighs=6)
    found = sq.gr.spatial_autocorr(logs, mode="moran", n_perms=None, copy=True, show_progress_bar=False)
    scores = np.full(table.n_vars, np.nan)
    scores[candidates] = found["I"].reindex(logs.var_names).to_numpy(dtype=float)
    return scores


def log_rates(rates: sp.csr_array, table: AnnData) -> AnnData:
    spatial = {"spatial": table.obsm["spatial"]} if "spatial" in table.obsm else {}
    matrix = sp.csr_matrix(rates).log1p()  # scanpy does not support sparse arrays everywhere yet
    return AnnData(matrix, obs=pd.DataFrame(index=table.obs_names), var=table.var[[]], obsm=spatial)


SCORES = {
    "mean": mean_rate_score,
    "highly_variable": highly_variable_score,
    "spatially_variable": spatially_variable_score,
}
