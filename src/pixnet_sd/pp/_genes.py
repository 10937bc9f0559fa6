"""Select the genes to model."""

from __future__ import annotations

from numbers import Integral
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import suggest_names
from pixnet_sd._sdata import counts, elements
from pixnet_sd._settings import logger

Flavor = Literal["mean", "highly_variable", "spatially_variable"]
TARGET_SUM = 1e4


def select_genes(
    sdata: SpatialData,
    table_key: str | None = None,
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
        SpatialData object with the table.
    table_key
        Key of the table with raw counts. Optional if the object has exactly one table.
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
    key = elements.find_table_key(sdata, table_key)
    table = sdata.tables[key]
    if flavor not in SCORES:
        raise PixnetValueError(
            f"flavor={flavor!r} is unknown; use one of {sorted(SCORES)}.{suggest_names(flavor, SCORES)}"
        )
    if not (isinstance(n_top_genes, Integral) and 1 <= n_top_genes <= table.n_vars):
        raise PixnetValueError(
            f"n_top_genes={n_top_genes!r} must be a whole number from 1 up; table {key!r} has {table.n_vars} genes."
        )
    matrix = counts.to_csr(table, layer, key)
    counts.check_counts(matrix, key, layer)
    scores = SCORES[flavor](normalize_counts(matrix), table, n_top_genes)
    # Stable, so that ties are resolved by the order of the genes on every machine; genes without a score come last.
    best = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:n_top_genes]
    columns = pd.DataFrame({key_added: False, f"{key_added}_score": scores}, index=table.var_names)
    columns.iloc[best, 0] = True
    if not inplace:
        return columns
    table.var[columns.columns] = columns
    logger.info("marked %d genes in sdata.tables[%r].var[%r]", n_top_genes, key, key_added)
    return None


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
