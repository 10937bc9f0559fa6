"""Where the store of an object is. Knows only paths."""

from __future__ import annotations

from pathlib import Path

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError


def store_path(sdata: SpatialData) -> Path:
    """Absolute and without links, so that a store has one folder beside it and one lock, whatever it is called."""
    return Path(str(sdata.path)).resolve()


def require_reachable(sdata: SpatialData) -> None:
    """A store that was opened by a relative path is lost when the working directory changes.

    Its pixels are read by that path too, and zarr takes files that it does not find for zeros.
    """
    given = Path(str(sdata.path))
    if not sdata.is_backed() or "://" in str(sdata.path) or given.is_absolute() or given.exists():
        return
    raise PixnetRuntimeError(
        f"The store was opened by the relative path {str(given)!r}, which is not in the working directory "
        f"{Path.cwd()} now, so its pixels cannot be read. Open it by an absolute path: "
        "spatialdata.read_zarr(pathlib.Path(...).absolute())."
    )
