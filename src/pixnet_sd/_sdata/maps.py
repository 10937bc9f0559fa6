"""Read a raster that can be aggregated: any image element, or a map of ours with the genes behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import dask.array as da
import numpy as np
import pandas as pd
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._keys import choose, loadings_key
from pixnet_sd._sdata import elements, images
from pixnet_sd._sdata.counts import gene_columns
from pixnet_sd._sdata.provenance import SLOT, recorded
from pixnet_sd._sdata.units import image_mpp

RATE, LOG = "counts/um2", "log1p"


@dataclass(frozen=True)
class Loadings:
    """How the channels of a factorised map make genes: genes = channels @ matrix + intercept."""

    matrix: np.ndarray
    """(programmes, genes)."""
    intercept: np.ndarray
    """(genes,); zero for rates."""
    members: np.ndarray | None = None
    """(programmes,): which member of an ensemble each belongs to, where that is known."""

    def of_genes(self, columns: np.ndarray) -> Loadings:
        return replace(self, matrix=self.matrix[:, columns], intercept=self.intercept[columns])


@dataclass(frozen=True)
class Map:
    """A raster of named quantities."""

    key: str
    """The image element that holds the pixels."""
    data: da.Array
    """(c, y, x), lazy: the quantities themselves, or programmes that make them."""
    var: pd.DataFrame
    """What is known of each quantity; its index holds the names."""
    loadings: Loadings | None = None
    """None where the channels are the quantities."""
    unit: str | None = None
    """`RATE`, `LOG`, or None where it is not known."""
    mpp: float | None = None
    """µm per pixel of the raster, where it is known."""

    @property
    def genes(self) -> list[str]:
        return list(map(str, self.var.index))

    def expanded(self) -> da.Array:
        """The quantities as (c, y, x), lazy."""
        if self.loadings is None:
            return self.data
        matrix = self.loadings.matrix.astype(np.float32)
        intercept = self.loadings.intercept.astype(np.float32)
        blocks = self.data.rechunk({0: -1})
        return blocks.map_blocks(
            expand_block, matrix, intercept, dtype=np.float32, chunks=((matrix.shape[1],), *blocks.chunks[1:])
        )


def expand_block(block: np.ndarray, matrix: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    return np.tensordot(matrix, block, axes=(0, 0)) + intercept[:, None, None]


def read_map(
    sdata: SpatialData, key: str | None = None, genes: Sequence[str] | None = None, *, argument: str = "image_key"
) -> Map:
    """The raster `key`, or the only map that was predicted, or the only image; of some genes on request."""
    elements.check_sdata(sdata)
    name = find_map(sdata, key, argument)
    facts = recorded(sdata, name) or {}
    stored = facts.get("programmes", name)
    require_whole(sdata, name, stored)
    image = images.read_image(sdata, stored)
    table = loadings_key(stored)
    found = Map(
        stored,
        image.data,
        pd.DataFrame(index=pd.Index(image.channels)),
        None,
        facts.get("unit"),
        raster_mpp(sdata, stored),
    )
    if table in sdata.tables:
        found = with_loadings(found, sdata.tables[table])
    return found if genes is None else of_genes(found, genes)


def require_whole(sdata: SpatialData, name: str, stored: str) -> None:
    """Genes need both the programmes and the loadings; a copy of a part of an object may have lost one."""
    if stored not in sdata.images:
        raise PixnetKeyError(f"{name!r} is made from the programmes {stored!r}, which are not in the object any more.")
    table, facts = loadings_key(stored), recorded(sdata, stored) or {}
    if facts.get("kind") == "programmes" and table not in sdata.tables:
        raise PixnetKeyError(
            f"The genes of {name!r} need the table {table!r}, which is not in the object; spatial queries leave it "
            f"out. Take it over from the whole object: part[{table!r}] = whole[{table!r}]."
        )
    of_table = sdata.tables[table].uns.get(SLOT, {}) if table in sdata.tables else {}
    if len({facts.get("sha256"), of_table.get("sha256")} - {None}) > 1:
        raise PixnetKeyError(
            f"The programmes {stored!r} and the table {table!r} are of two models: a prediction was stopped while it "
            "took the place of another. Repeat that call, which ends it."
        )


def find_map(sdata: SpatialData, key: str | None, argument: str) -> str:
    """Predicted maps come first: with one of them, the H&E image beside it is not a candidate."""
    predicted = [name for name in sdata.images if (recorded(sdata, name) or {}).get("kind") == "programmes"]
    candidates = sdata.images if key is not None or not predicted else predicted
    return choose("images", key, candidates, argument)


def raster_mpp(sdata: SpatialData, key: str) -> float | None:
    known: float | None = (recorded(sdata, key) or {}).get("mpp")
    if known is not None:
        return known
    try:
        return image_mpp(sdata, key)
    except PixnetValueError:
        return None


def with_loadings(found: Map, table: AnnData) -> Map:
    matrix, var = np.asarray(table.X, dtype=float), table.var
    if len(matrix) != found.data.shape[0]:
        raise PixnetValueError(
            f"The loadings of {found.key!r} have {len(matrix)} programmes, the raster has {found.data.shape[0]}. "
            "They were not written together; predict again with overwrite=True."
        )
    intercept = var["intercept"].to_numpy(dtype=float) if "intercept" in var else np.zeros(len(var))
    members = table.obs["member"].to_numpy() if "member" in table.obs else None
    return replace(found, var=var, loadings=Loadings(matrix, intercept, members))


def of_genes(found: Map, genes: Sequence[str]) -> Map:
    if not len(genes):
        raise PixnetValueError(f"genes=[] names no gene of {found.key!r}. Name some, or leave it out for all.")
    columns = gene_columns(found.var.index, genes, found.key)
    var = found.var.iloc[columns]
    if found.loadings is None:
        return replace(found, data=found.data[columns], var=var)
    return replace(found, var=var, loadings=found.loadings.of_genes(columns))
