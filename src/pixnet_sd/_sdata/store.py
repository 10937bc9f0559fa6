"""Attach results to a SpatialData object: all or nothing, in memory or in the zarr store that backs it.

A store is never left half written. Elements are written to a staging store beside it, read back and compared, and only
then moved into place, one directory rename each; an element that is replaced is swapped out in one step where the
system can do that. What an interrupted call leaves behind lies outside the store.
"""

from __future__ import annotations

import ctypes
import glob
import os
import re
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import spatialdata as sd
import zarr
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetRuntimeError, PixnetValueError
from pixnet_sd._keys import require_free
from pixnet_sd._log import logger
from pixnet_sd._sdata import locks, provenance
from pixnet_sd._sdata.elements import names
from pixnet_sd._writing import where_there_is_room

NAME = re.compile(r"(?!\.|__)[\w.-]+")
"""What SpatialData allows, less names that begin with a dot, which hide."""
REPLACED = "replaced-"
"""How an element is called in a staging folder while another takes its place."""
ZARR_FORMAT = 3
"""Of what SpatialData writes now; elements of two formats in one store cannot be read."""


def attach(
    sdata: SpatialData, elements: Mapping[str, Any], facts: Mapping[str, dict[str, Any]], *, overwrite: bool
) -> None:
    """Put all elements into the object, and into its store; nothing is touched before all checks have passed."""
    check(sdata, list(elements), overwrite=overwrite)
    require_kinds(sdata, elements)
    enter(sdata, publish(sdata, elements, overwrite=overwrite) if sdata.is_backed() else elements, facts)


def enter(sdata: SpatialData, elements: Mapping[str, Any], facts: Mapping[str, dict[str, Any]]) -> None:
    """Hold the elements in the object, in place of others of their names, and record what is known of them."""
    require_kinds(sdata, elements)
    # SpatialData warns of a table that comes before what it annotates.
    for key, element in sorted(elements.items(), key=lambda item: isinstance(item[1], AnnData)):
        if key in names(sdata):
            del sdata[key]
        sdata[key] = element
        provenance.record(sdata, key, facts[key])
        logger.info("added %s", slot(sdata, key))
    provenance.save(sdata, "elements", elements)


def check(sdata: SpatialData, keys: list[str], *, overwrite: bool) -> None:
    """What can be known before the work: names can be used and are free, the store can be written."""
    if wrong := [key for key in keys if not NAME.fullmatch(key)]:
        raise PixnetValueError(
            f"An element cannot be called {wrong[0]!r}: names are of letters, digits, '_', '-' and '.', and do not "
            "begin with '.' or '__'. Pass another name for the result."
        )
    taken = names(sdata) | names_on_disk(sdata)
    require_other_names(keys, taken)
    require_free(keys, taken, overwrite=overwrite)
    if sdata.is_backed():
        require_writable(store_path(sdata))


def require_other_names(keys: list[str], taken: set[str]) -> None:
    """SpatialData does not open a store with two names that differ only in the case of their letters."""
    others = {name.lower(): name for name in taken}
    for key in keys:
        if (other := others.setdefault(key.lower(), key)) != key:
            raise PixnetKeyError(
                f"The result {key!r} would be beside {other!r}; names must differ by more than the case of letters. "
                "Pass another name for the result."
            )


def require_writable(store: Path) -> None:
    """Results are written beside the store first, in the format of zarr that SpatialData writes now."""
    for path in (store, store.parent):
        if not os.access(path, os.W_OK):
            raise PixnetRuntimeError(
                f"The store {store} takes no result: {path} cannot be written. Use inplace=False to get the result, or "
                "copy the store."
            )
    written_as = zarr.open_group(store, mode="r").metadata.zarr_format
    if written_as != ZARR_FORMAT:
        raise PixnetRuntimeError(
            f"The store {store} takes no result: it is of zarr format {written_as}, an older one. Write it anew by "
            "spatialdata.read_zarr(old).write(new), or use inplace=False to get the result."
        )


def require_kinds(sdata: SpatialData, elements: Mapping[str, Any]) -> None:
    """A name is there once over all kinds, so what takes the name of another kind would destroy it."""
    there = {name: kind for kind, name, _ in sdata.gen_elements()}
    for kind, name, _ in alone(elements).gen_elements():
        if there.get(name, kind) != kind:
            raise PixnetKeyError(
                f"The result {name!r} would be among the {kind} and replace what is there among the {there[name]}. "
                "Pass another name for the result."
            )


def alone(elements: Mapping[str, Any]) -> SpatialData:
    """The elements in an object of their own."""
    with tables_by_themselves():
        return SpatialData.init_from_elements(dict(elements))


@contextmanager
def tables_by_themselves() -> Iterator[None]:
    """Without SpatialData's warning of tables that annotate what is in another object, and anndata's of its plans."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The table is annotating|zarr v3 autosharding")
        yield


def names_on_disk(sdata: SpatialData) -> set[str]:
    """Also of elements that the object does not hold any more."""
    return {path.name for path in store_path(sdata).glob("*/*") if path.is_dir()} if sdata.is_backed() else set()


def slot(sdata: SpatialData, key: str) -> str:
    kind = next(kind for kind, name, _ in sdata.gen_elements() if name == key)
    return f"sdata.{kind}[{key!r}]"


def store_path(sdata: SpatialData) -> Path:
    return Path(str(sdata.path))


def publish(sdata: SpatialData, elements: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any]:
    """Write the elements into the store and give them back as read from there."""
    store = store_path(sdata)
    with (
        where_there_is_room(store.parent, after="All that was in the store is still there."),
        staging_folder(store) as folder,
    ):
        staged = folder / "staged.zarr"
        kinds = stage(elements, staged)
        with locks.turn(store):
            require_free(list(elements), names_on_disk(sdata), overwrite=overwrite)  # since the work began
            require_places(store, kinds)
            for key, kind in kinds.items():
                move_element(staged / kind / key, store, kind, folder)
            return consolidated(sdata, kinds)


def consolidated(sdata: SpatialData, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Elements that have been moved into the store, read from there."""
    sdata.write_consolidated_metadata()
    with tables_by_themselves():
        fresh = sd.read_zarr(store_path(sdata), selection=tuple(set(kinds.values())))
    return {key: fresh[key] for key in kinds}


@contextmanager
def staging_folder(store: Path) -> Iterator[Path]:
    """A folder on the same file system as the store, so that moving into the store is a rename."""
    prefix = f".{store.name}.staging-{socket.gethostname()}-"  # locks of folders do not reach other machines
    with ExitStack() as stack:
        with locks.turn(store):
            remove_abandoned(store.parent, prefix)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=store.parent))
            stack.enter_context(locks.turn(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """What killed processes left, unless it holds an element that was being replaced."""
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        if locks.is_abandoned(folder) and not any(folder.glob(f"{REPLACED}*")):
            shutil.rmtree(folder, ignore_errors=True)


def stage(elements: Mapping[str, Any], staged: Path) -> dict[str, str]:
    """Write the elements to a store of their own and read them back; the kind (folder) of each."""
    with tables_by_themselves():
        alone(elements).write(staged)
        kinds = {name: kind for kind, name, _ in sd.read_zarr(staged).gen_elements()}
    missing = set(elements) - set(kinds)
    if missing:
        raise PixnetRuntimeError(
            f"Elements {sorted(missing)} could not be read back after writing; nothing was changed."
        )
    return kinds


def require_places(store: Path, kinds: Mapping[str, str]) -> None:
    """Before the first of several elements is moved: no name is there among another kind."""
    for name, kind in kinds.items():
        for other in store.glob(f"*/{glob.escape(name)}"):
            if other.parent.name != kind:
                raise PixnetRuntimeError(f"{store} has {name!r} among the {other.parent.name}; it is left as it is.")


def move_element(staged: Path, store: Path, kind: str, folder: Path) -> None:
    zarr.open_group(store, mode="r+", use_consolidated=False).require_group(kind)
    final = store / kind / staged.name
    if not final.exists():
        staged.rename(final)
    elif not exchange(staged, final):
        replace(staged, final, folder / f"{REPLACED}{final.name}")


def replace(staged: Path, final: Path, aside: Path) -> None:
    """Where two folders cannot be swapped in one step: what was there comes back unless the other took its place."""
    final.rename(aside)
    try:
        staged.rename(final)
    finally:
        if not final.exists():
            aside.rename(final)
    shutil.rmtree(aside)


def exchange(one: Path, other: Path) -> bool:
    """Swap two directories in one step (Linux `renameat2`); False where the system cannot."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    here, exchange_flag = -100, 2
    return swap is not None and swap(here, os.fsencode(one), here, os.fsencode(other), exchange_flag) == 0
