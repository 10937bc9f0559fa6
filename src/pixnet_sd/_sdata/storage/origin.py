"""Where the store of an object is, and which stored pixels an array is cut from, by dask's graph."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import zarr
from dask.highlevelgraph import MaterializedLayer
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError

SLOT = "pixnet_sd"
SELECTIONS = ("getitem-", "rechunk-")
"""Names of dask's layers that hand pixels on as they are."""


def store_path(sdata: SpatialData) -> Path:
    """Absolute and without links, so that a store has one folder beside it and one lock, whatever it is called."""
    return Path(str(sdata.path)).resolve()


def check_reachable(sdata: SpatialData) -> None:
    """Check that a store which was opened by a relative path is still there after a change of directory.

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


def source_name(data: Any) -> str | None:
    """Find the name of the dask array whose pixels these are, whole or cut; None without dask."""
    if not isinstance(data, da.Array):
        return None
    before, name = data.dask.dependencies, data.name
    while name.startswith(SELECTIONS) and len(before[name]) == 1:
        (name,) = before[name]
    return name


def stored_source(data: Any) -> zarr.Array | None:
    """Find the stored array whose pixels these are, whole or cut; None if they are computed."""
    name = source_name(data)
    if name is None:
        return None
    return next(arrays_in(data, [name, *data.dask.dependencies[name]]), None)


def stored_arrays(data: Any) -> list[zarr.Array]:
    """List all stored arrays that the pixels are computed from."""
    return list(arrays_in(data, data.dask.layers)) if isinstance(data, da.Array) else []


def arrays_in(data: da.Array, names: Iterable[str]) -> Iterator[zarr.Array]:
    """Yield stored arrays; each is alone in its layer."""
    for name in names:
        layer = data.dask.layers[name]
        if isinstance(layer, MaterializedLayer) and len(layer.mapping) == 1:
            (node,) = layer.mapping.values()
            # Newer dask wraps data of a graph in `DataNode`, older has them bare.
            value = getattr(node, "value", node)
            if isinstance(value, zarr.Array):
                yield value


def facts_on_disk(array: zarr.Array) -> dict[str, Any] | None:
    """Read what the group of these pixels records now, not when it was opened."""
    root = getattr(array.store, "root", None)
    return None if root is None else facts_of_group((Path(root) / array.path).parent)


def record_in_store(array: zarr.Array) -> dict[str, Any] | None:
    """Read what the store of these pixels records under their name, for those that SpatialData wrote."""
    root = getattr(array.store, "root", None)
    element = (Path(root) / array.path).parent if root is not None else Path()
    if root is None or element.parent.name != "images":
        return None
    found: dict[str, Any] | None = (facts_of_group(element.parent.parent) or {}).get("elements", {}).get(element.name)
    return found


def facts_of_group(element: Path) -> dict[str, Any] | None:
    """Read the record of a group; None without one, or if the group is gone."""
    try:
        metadata = json.loads((element / "zarr.json").read_text())
    except (OSError, ValueError):
        return None
    found: dict[str, Any] | None = metadata.get("attributes", {}).get(SLOT)
    return found


def write_facts(element: Path, facts: dict[str, Any]) -> None:
    """Write into the group of an element's pixels what is known of them."""
    zarr.open_group(element, mode="r+", use_consolidated=False).attrs[SLOT] = facts
