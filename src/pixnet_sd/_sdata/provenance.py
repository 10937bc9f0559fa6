"""What this package did, kept in `sdata.attrs["pixnet_sd"]` because the attributes of images are lost on write."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zarr
from spatialdata import SpatialData

from pixnet_sd import __version__
from pixnet_sd._log import logger
from pixnet_sd._sdata import locks
from pixnet_sd._sdata.paths import store_path

SLOT = "pixnet_sd"


def recorded(sdata: SpatialData, element_key: str) -> dict[str, Any] | None:
    """What is known of a result of ours; None for an element that is not."""
    found: dict[str, Any] | None = sdata.attrs.get(SLOT, {}).get("elements", {}).get(element_key)
    return found


def record(sdata: SpatialData, element_key: str, facts: dict[str, Any]) -> None:
    section(sdata, "elements")[element_key] = stamped(facts)


def stamped(facts: dict[str, Any]) -> dict[str, Any]:
    return {"version": __version__, **facts}


def recorded_mpp(sdata: SpatialData, image_key: str) -> float | None:
    found: float | None = sdata.attrs.get(SLOT, {}).get("mpp", {}).get(image_key)
    return found


def record_mpp(sdata: SpatialData, image_key: str, mpp: float) -> None:
    section(sdata, "mpp")[image_key] = float(mpp)
    save(sdata, "mpp", [image_key])


def section(sdata: SpatialData, name: str) -> dict[str, Any]:
    slot: dict[str, Any] = sdata.attrs.setdefault(SLOT, {}).setdefault(name, {})
    return slot


def save(sdata: SpatialData, name: str, keys: Iterable[str]) -> None:
    """Write these records into the store that backs the object, beside all else that it says by now."""
    if not sdata.is_backed():
        return
    path = store_path(sdata)
    if not os.access(path, os.W_OK):
        logger.warning("%s cannot be written: what is known of %s is kept in this object only", path, list(keys))
        return
    with locks.turn(path):
        write(path, name, {key: section(sdata, name)[key] for key in keys})


def write(store: Path, name: str, records: Mapping[str, Any]) -> None:
    root = zarr.open_group(store, mode="r+")
    known: Any = root.attrs.get(SLOT, {})
    root.attrs[SLOT] = {**known, name: {**known.get(name, {}), **records}}


def stored_elements(store: Path) -> dict[str, Any]:
    """What a store says now of results of ours."""
    known: Any = zarr.open_group(store, mode="r").attrs.get(SLOT, {})
    found: dict[str, Any] = known.get("elements", {})
    return found


def announce(store: Path, facts: Mapping[str, dict[str, Any]]) -> None:
    """Record what new elements are before they are there.

    Else, after a stop in between, a result could not be told from what somebody else wrote.
    """
    there = stored_elements(store)
    write(store, "elements", {key: stamped(known) for key, known in facts.items() if key not in there})
