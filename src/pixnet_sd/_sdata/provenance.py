"""What is known of a result: unit, scale, model. It belongs to the pixels, not to their name.

It is looked up in this order, and a record that does not fit the pixels does not count:

1. in the zarr group of the pixels, where they are read from a store of ours and nothing but selected since;
2. in the attributes of the element in memory, which survive renaming, copying and cutting;
3. in `sdata.attrs["pixnet_sd"]`, under the element's name or another: attributes of images are lost on write;
4. in `uns["pixnet_sd"]` of the loadings.

Records of the first release say nothing of their pixels. They count under their own name, for pixels that are floats.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from spatialdata import SpatialData

from pixnet_sd import __version__
from pixnet_sd._sdata import affine, fingerprint
from pixnet_sd._sdata.storage import locks, origin
from pixnet_sd._sdata.storage.origin import SLOT, store_path
from pixnet_sd._settings import logger


def get_record(sdata: SpatialData, element_key: str) -> dict[str, Any] | None:
    """Return the record of one of our results; None for any other element."""
    if element_key not in sdata.images:
        return get_records(sdata, "elements").get(element_key)
    element = sdata.images[element_key]
    on_disk = of_source(element)
    if on_disk is not None:
        return on_disk
    found = next((facts for facts in candidates(sdata, element_key) if counts(facts, element, element_key)), None)
    return found and without_token(found)


def digest_pixels(facts: Mapping[str, Any] | None) -> str | None:
    """Identify the pixels of a record by a short digest, so that a table can refer to them."""
    if not facts or "of" not in facts:
        return None
    return hashlib.blake2b(json.dumps(facts["of"], sort_keys=True).encode(), digest_size=8).hexdigest()


def of_source(element: Any) -> dict[str, Any] | None:
    """Read the record that is stored beside these pixels."""
    array = origin.stored_source(affine.finest_array(element).data)
    return None if array is None else origin.facts_on_disk(array)


def of_attributes(element: Any) -> dict[str, Any] | None:
    """Read the record of an image element in memory, without names of dask's arrays, for a file."""
    if not isinstance(element, xr.DataArray | xr.DataTree):
        return None
    facts = affine.finest_array(element).attrs.get(SLOT)
    return None if facts is None else without_token(facts)


def without_token(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "token"}


def is_attached_over(element: Any, programs: str) -> bool:
    """Check whether these are genes as `tl.expand` made them of a map, whole and unchanged."""
    pixels = affine.finest_array(element)
    facts = pixels.attrs.get(SLOT, {})
    lazy = facts.get("token") == getattr(pixels.data, "name", None) and origin.stored_source(pixels.data) is None
    return lazy and facts.get("kind") == "expression" and facts.get("programs") == programs


def candidates(sdata: SpatialData, key: str) -> Iterator[dict[str, Any]]:
    element, records = sdata.images[key], get_records(sdata, "elements")
    if SLOT in (attributes := affine.finest_array(element).attrs):
        yield {**attributes[SLOT], "key": key}
    own = [key] if key in records else []
    for name in [*own, *(other for other in records if other != key)]:
        facts = records[name]
        if name == key or "of" in facts:
            yield {"key": name, **facts}
    array = origin.stored_source(affine.finest_array(element).data)
    if array is not None and "of" in (facts := origin.record_in_store(array) or {}):
        yield facts
    for table in sdata.tables.values():
        if (facts := of_loadings(table)) is not None:
            yield facts


def of_loadings(table: Any) -> dict[str, Any] | None:
    """Read what a table of loadings records of its map."""
    facts: dict[str, Any] | None = json.loads(table.uns.get(SLOT, {}).get("map", "null"))
    return facts


def describe_loadings(table: Any, facts: Mapping[str, Any]) -> None:
    """Note in a new table of loadings what is known of its map."""
    seen = {name: facts[name] for name in ("unit", "sha256") if facts.get(name) is not None}
    table.uns[SLOT] = {"kind": "loadings", **seen, "map": json.dumps(without_token(facts))}


def counts(facts: Mapping[str, Any], element: Any, key: str) -> bool:
    """Check whether a record is of these pixels."""
    if (token := facts.get("token")) is not None:
        if origin.source_name(affine.finest_array(element).data) == token:
            return True
        if fingerprint.is_changed(element, token):
            return False
    if "of" not in facts:
        return bool(affine.finest_array(element).dtype.kind == "f")
    name = facts.get("key", "")
    return fingerprint.fits(facts["of"], element, key, named=key == name or key.startswith(f"{name}-"))


def describe_raster(element: Any, key: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the facts a fingerprint of the pixels, and µm per unit of each coordinate system."""
    known = {"version": __version__, "key": key, **facts}
    if "um_per_unit" not in known and known.get("mpp") is not None:
        known["um_per_unit"] = {name: known["mpp"] / scale for name, scale in affine.pixel_scales(element).items()}
    return {**known, "of": fingerprint.describe(element)}


def attach_facts(element: Any, facts: Mapping[str, Any]) -> Any:
    """Copy an element with the facts in its attributes; other holders of the element see no change."""
    if not isinstance(element, xr.DataArray):
        nodes = {name: next(iter(level.to_dataset().items())) for name, level in element.items()}
        return xr.DataTree.from_dict(
            {name: xr.Dataset({variable: attach_facts(pixels, facts)}) for name, (variable, pixels) in nodes.items()}
        )
    found = element.copy(deep=False)
    found.attrs = {**element.attrs, SLOT: {**facts, "token": origin.source_name(element.data)}}
    return found


def set_record(sdata: SpatialData, element_key: str, facts: Mapping[str, Any]) -> None:
    """Note what is known of an element, in the object and in the pixels' own attributes."""
    known = {"version": __version__, **facts}
    if element_key in sdata.images:
        known = describe_raster(sdata.images[element_key], element_key, facts)
        element = attach_facts(sdata.images[element_key], known)
        del sdata.images[element_key]
        sdata.images[element_key] = element
    keep_record(sdata, "elements", element_key, known)


def keep_record(sdata: SpatialData, name: str, key: str, value: Any) -> None:
    """Add a record to a new dict: queries share `attrs` by reference."""
    slot = sdata.attrs.get(SLOT, {})
    sdata.attrs = {**sdata.attrs, SLOT: {**slot, name: {**slot.get(name, {}), key: value}}}


def get_records(sdata: SpatialData, name: str) -> dict[str, Any]:
    found: dict[str, Any] = sdata.attrs.get(SLOT, {}).get(name, {})
    return found


def recorded_scale(sdata: SpatialData, image_key: str) -> dict[str, float] | float | None:
    """Return µm per unit of the coordinate systems of an image; of the first release, µm per pixel."""
    found: dict[str, float] | float | None = get_records(sdata, "mpp").get(image_key)
    return found


def set_mpp_record(sdata: SpatialData, image_key: str, mpp: float) -> None:
    """Record µm per pixel as µm per unit of each coordinate system, since pixels may be replaced."""
    scales = affine.pixel_scales(sdata.images[image_key])
    keep_record(sdata, "mpp", image_key, {name: float(mpp) / scale for name, scale in scales.items()})
    save_records(sdata, "mpp", [image_key])


def save_records(sdata: SpatialData, name: str, keys: Iterable[str]) -> None:
    """Write these records into the store that backs the object, beside all else that it says by now."""
    if not sdata.is_backed():
        return
    path = store_path(sdata)
    if not os.access(path, os.W_OK):
        logger.warning("%s cannot be written: what is known of %s is kept in this object only", path, list(keys))
        return
    with locks.store_lock(path):
        write_records(path, name, {key: get_records(sdata, name)[key] for key in keys})


def write_records(store: Path, name: str, records: Mapping[str, Any]) -> None:
    root = zarr.open_group(store, mode="r+")
    known: Any = root.attrs.get(SLOT, {})
    root.attrs[SLOT] = {**known, name: {**known.get(name, {}), **records}}


def stored_elements(store: Path) -> dict[str, Any]:
    """Read a store's current records of our results."""
    known: Any = zarr.open_group(store, mode="r").attrs.get(SLOT, {})
    found: dict[str, Any] = known.get("elements", {})
    return found


def announce_results(store: Path, facts: Mapping[str, dict[str, Any]]) -> None:
    """Record what new elements are before they are there.

    Else, after a stop in between, a result could not be told from what somebody else wrote.
    """
    there = stored_elements(store)
    new = {key: {"version": __version__, **known} for key, known in facts.items() if key not in there}
    write_records(store, "elements", new)
