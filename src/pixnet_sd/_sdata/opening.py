"""Open a slide that is given by its path."""

from __future__ import annotations

from pathlib import Path

import spatialdata as sd
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError

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
