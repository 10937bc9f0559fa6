"""Find elements of a SpatialData object by key."""

from __future__ import annotations

from pathlib import Path

import spatialdata as sd
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError, PixnetTypeError, PixnetValueError
from pixnet_sd._keys import choose, loadings_key
from pixnet_sd._sdata.provenance import SLOT, recorded
from pixnet_sd._sdata.storage.paths import require_reachable


def image_key(sdata: SpatialData, key: str | None = None) -> str:
    """The image to read. Without a key, results that this package wrote do not count as candidates."""
    check_sdata(sdata)
    candidates = sdata.images if key is not None else [name for name in sdata.images if not recorded(sdata, name)]
    return choose("images", key, candidates, "image_key")


def shapes_key(sdata: SpatialData, key: str | None = None) -> str:
    check_sdata(sdata)
    return choose("shapes", key, sdata.shapes, "shapes_key")


def table_key(sdata: SpatialData, key: str | None = None) -> str:
    """The measured table to read. Without a key, results and loadings do not count as candidates."""
    check_sdata(sdata)
    return choose("tables", key, sdata.tables if key is not None else measured_tables(sdata), "table_key")


def measured_tables(sdata: SpatialData) -> list[str]:
    """All but results and loadings of ours, which say so also where the object has forgotten it."""
    derived = {loadings_key(name) for name in sdata.images}
    ours = {name for name, table in sdata.tables.items() if recorded(sdata, name) or SLOT in table.uns}
    return [name for name in sdata.tables if name not in derived | ours]


def names(sdata: SpatialData) -> set[str]:
    """Every element's name; SpatialData allows a name once over all kinds."""
    return {name for _, name, _ in sdata.gen_elements()}


def check_sdata(sdata: object) -> None:
    if not isinstance(sdata, SpatialData):
        raise PixnetTypeError(
            f"The first argument must be a SpatialData object; got {type(sdata).__name__}. "
            "Read one with spatialdata.read_zarr, or try pixnet_sd.datasets.toy()."
        )
    require_reachable(sdata)


MARKERS = ("zarr.json", ".zgroup", ".zattrs")


def open_slide(path: str | Path) -> SpatialData:
    """A SpatialData object from its zarr store, lazily."""
    store = Path(path)
    if not any((store / name).exists() for name in MARKERS):
        found = "is no zarr store" if store.exists() else "is not there"
        raise PixnetValueError(f"{store} {found}. Give the path of a SpatialData object that was written to disk.")
    try:
        return sd.read_zarr(store)
    except Exception as error:
        raise PixnetRuntimeError(f"{store} cannot be read as a SpatialData store: {error}") from error
