"""Export tables as the folder that 10x Genomics' software writes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scipy.io import mmwrite
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import counts, elements
from pixnet_sd._settings import logger
from pixnet_sd.io._exports import whole_target

DIGITS = 9
"""As many as tell all numbers of single precision apart."""


def to_10x(
    sdata: SpatialData, table_key: str, path: str | Path, *, layer: str | None = None, overwrite: bool = False
) -> None:
    """Write a table as ``matrix.mtx.gz``, ``features.tsv.gz`` and ``barcodes.tsv.gz``, for Seurat and others.

    ``coordinates.csv`` beside them has the positions and ``obs``. ``Seurat::Read10X(path)`` and
    ``scanpy.read_10x_mtx(path)`` read the folder. Rows without values, of shapes off the tissue, are left out, with
    their number in the log.

    Parameters
    ----------
    sdata
        SpatialData object with the table.
    table_key
        Key of the table.
    path
        New folder.
    layer
        Layer to write. Default: X.
    overwrite
        Whether to replace an existing folder.

    Raises
    ------
    PixnetValueError
        If no row has values, or names are repeated.

    See Also
    --------
    pixnet_sd.tl.aggregate : Make a table of a predicted map.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> import scanpy as sc
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.io.to_10x(sdata, "bins_8um_counts", "bins")
    >>> sc.read_10x_mtx("bins").shape == sdata["bins_8um_counts"].shape
    True
    """
    table = sdata.tables[elements.find_table_key(sdata, table_key)]
    check_unique(table, table_key)
    matrix = counts.to_csr(table, layer, table_key)
    known = rows_with_values(matrix)
    if not known.any():
        raise PixnetValueError(f"None of the {table.n_obs} rows of table {table_key!r} has values.")
    with whole_target(path, (), overwrite=overwrite) as partial:
        partial.mkdir()
        write_parts(partial, table[known], matrix[known])
    logger.info(
        "wrote %d rows x %d genes to %s; %d without values are left out", *matrix[known].shape, path, sum(~known)
    )


def check_unique(table: AnnData, table_key: str) -> None:
    for names, of in ((table.obs_names, "obs_names"), (table.var_names, "var_names")):
        if not names.is_unique:
            raise PixnetValueError(f"Table {table_key!r} repeats names; use .{of}_make_unique() first.")


def rows_with_values(matrix: sp.csr_array) -> np.ndarray:
    """Find rows in which no value is NaN."""
    odd = np.isnan(matrix.data)
    known = np.ones(matrix.shape[0], bool)
    known[np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[odd]] = False
    return known


def write_parts(folder: Path, table: AnnData, matrix: sp.csr_array) -> None:
    genes = table.var_names.astype(str)
    ids = next((table.var[name].astype(str) for name in ("gene_ids", "ensembl") if name in table.var), genes)
    features = pd.DataFrame({"id": np.asarray(ids), "name": genes, "type": "Gene Expression"})
    write_tsv(folder / "features.tsv.gz", features)
    write_tsv(folder / "barcodes.tsv.gz", pd.DataFrame({"barcode": table.obs_names.astype(str)}))
    with gzip.GzipFile(folder / "matrix.mtx.gz", "wb", mtime=0) as file:
        mmwrite(file, matrix.T.tocoo(), precision=DIGITS)
    spatial = np.asarray(table.obsm["spatial"])[:, :2] if "spatial" in table.obsm else np.empty((table.n_obs, 0))
    places = pd.DataFrame(spatial, index=table.obs_names, columns=["x", "y"][: spatial.shape[1]])
    places.join(table.obs.drop(columns=["x", "y"], errors="ignore")).to_csv(
        folder / "coordinates.csv", index_label="barcode"
    )


def write_tsv(path: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(path, sep="\t", header=False, index=False, compression={"method": "gzip", "mtime": 0})
