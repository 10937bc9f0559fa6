"""Attach results to a SpatialData object: all or nothing, in memory or in the zarr store that backs it.

A store is never left half written. Elements are written to a staging store beside it, read back and compared, and only
then moved into place, one directory rename each; an element that is replaced is swapped out in one step where the
system can do that. What an interrupted call leaves behind lies outside the store.
"""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import spatialdata as sd
import zarr
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._files import explain_full_disk
from pixnet_sd._sdata import provenance
from pixnet_sd._sdata.elements import element_names
from pixnet_sd._sdata.storage import consolidated, locks, origin, places
from pixnet_sd._sdata.storage.origin import store_path
from pixnet_sd._settings import logger

REPLACED = "replaced-"
"""How an element is called in a staging folder while another takes its place."""
LAZY = ("images", "labels")
"""Kinds that are read from the store when their values are asked for; the others are held in memory."""


def attach(
    sdata: SpatialData,
    elements: Mapping[str, Any],
    facts: Mapping[str, dict[str, Any]],
    *,
    overwrite: bool,
    theirs: bool = False,
) -> None:
    """Put all elements into the object, and into its store; nothing is touched before all checks have passed."""
    kinds = kinds_of(elements)
    places.check_result_names(kinds)
    places.check_places(sdata, kinds, overwrite=overwrite, theirs=theirs)
    if sdata.is_backed():
        elements = publish_elements(sdata, elements, facts, overwrite=overwrite, theirs=theirs)
    attach_in_memory(sdata, elements, facts)


def attach_in_memory(sdata: SpatialData, elements: Mapping[str, Any], facts: Mapping[str, dict[str, Any]]) -> None:
    """Hold the elements in the object, in place of others of their names, and record what is known of them."""
    # SpatialData warns of a table that comes before what it annotates.
    for key, element in sorted(elements.items(), key=lambda item: isinstance(item[1], AnnData)):
        if key in element_names(sdata):
            del sdata[key]
        sdata[key] = element
        provenance.set_record(sdata, key, facts[key])
        logger.info("added %s", describe_slot(sdata, key))
    provenance.save_records(sdata, "elements", elements)


def check_results(
    sdata: SpatialData, kinds: Mapping[str, str], *, overwrite: bool, done: Collection[str] = (), theirs: bool = False
) -> None:
    """Check before the work that names are valid and free, and that the store can be written."""
    places.check_result_names(kinds)
    places.check_places(sdata, kinds, overwrite=overwrite, done=done, theirs=theirs)
    if sdata.is_backed():
        store = store_path(sdata)
        places.check_store(store, kinds)
        consolidated.warn_of_strays(store, {f"{kind}/{name}" for name, kind in kinds.items()})


def kinds_of(elements: Mapping[str, Any]) -> dict[str, str]:
    return {name: kind for kind, name, _ in wrap_elements(elements).gen_elements()}


def wrap_elements(elements: Mapping[str, Any]) -> SpatialData:
    """Put the elements into an object of their own."""
    with ignore_table_warnings():
        return SpatialData.init_from_elements(dict(elements))


@contextmanager
def ignore_table_warnings() -> Iterator[None]:
    """Ignore SpatialData's warning of tables that annotate other objects, and anndata's of its plans."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The table is annotating|zarr v3 autosharding")
        yield


def describe_slot(sdata: SpatialData, key: str) -> str:
    kind = next(kind for kind, name, _ in sdata.gen_elements() if name == key)
    return f"sdata.{kind}[{key!r}]"


def publish_elements(
    sdata: SpatialData,
    elements: Mapping[str, Any],
    facts: Mapping[str, dict[str, Any]],
    *,
    overwrite: bool,
    theirs: bool,
) -> dict[str, Any]:
    """Write the elements into the store and give them back, lazy ones as read from there."""
    store = store_path(sdata)
    with (
        explain_full_disk(store.parent, after="All that was in the store is still there."),
        staging_folder(store) as folder,
    ):
        staged = folder / "staged.zarr"
        kinds = stage_elements(elements, staged)
        with locks.store_lock(store):
            places.check_places(sdata, kinds, overwrite=overwrite, theirs=theirs)  # since the work began
            provenance.announce_results(store, facts)
            for key, kind in kinds.items():
                move_element(staged / kind / key, store, kind, folder)
            return open_moved(store, kinds, elements)


def open_moved(store: Path, kinds: Mapping[str, str], elements: Mapping[str, Any]) -> dict[str, Any]:
    """Open elements that have been moved into the store, after its metadata name them.

    Tables and shapes are those that were written: reading them would read all others of their kind into memory too.
    """
    consolidated.renew_metadata(store, [f"{kind}/{key}" for key, kind in kinds.items()])
    lazy = {kind for kind in kinds.values() if kind in LAZY}
    with ignore_table_warnings():
        fresh = sd.read_zarr(store, selection=tuple(lazy)) if lazy else {}
    return {key: fresh[key] if kind in LAZY else elements[key] for key, kind in kinds.items()}


@contextmanager
def staging_folder(store: Path) -> Iterator[Path]:
    """Make a folder on the store's file system, so that moving into the store is a rename."""
    prefix = f".{store.name}.staging-{socket.gethostname()}-"  # locks of folders do not reach other machines
    with ExitStack() as stack:
        with locks.store_lock(store):
            remove_abandoned(store.parent, prefix)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=store.parent))
            stack.enter_context(locks.store_lock(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove what killed processes left, unless it holds an element that was being replaced."""
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        if locks.is_abandoned(folder) and not any(folder.glob(f"{REPLACED}*")):
            # In a race two processes may remove the same folder.
            shutil.rmtree(folder, ignore_errors=True)


def stage_elements(elements: Mapping[str, Any], staged: Path) -> dict[str, str]:
    """Write the elements to a store of their own and read them back; the kind (folder) of each."""
    with ignore_table_warnings():
        wrap_elements(elements).write(staged)
        # Read back, because what cannot be read must never replace what can.
        kinds = {name: kind for kind, name, _ in sd.read_zarr(staged).gen_elements()}
    for key in kinds.keys() & elements.keys():
        if (facts := provenance.of_attributes(elements[key])) is not None:
            origin.write_facts(staged / kinds[key] / key, facts)
    missing = set(elements) - set(kinds)
    if missing:
        raise PixnetRuntimeError(
            f"Elements {sorted(missing)} could not be read back after writing; nothing was changed."
        )
    return kinds


def move_element(staged: Path, store: Path, kind: str, folder: Path) -> None:
    # Consolidated metadata may not know a group that another process has just made.
    zarr.open_group(store, mode="r+", use_consolidated=False).require_group(kind)
    final = store / kind / staged.name
    if not final.exists():
        staged.rename(final)
    elif not exchange_folders(staged, final):
        replace_folder(staged, final, folder / f"{REPLACED}{final.name}")


def replace_folder(staged: Path, final: Path, aside: Path) -> None:
    """Replace a folder in two steps; if the second fails, put the old one back."""
    final.rename(aside)
    try:
        staged.rename(final)
    finally:
        if not final.exists():
            aside.rename(final)
    shutil.rmtree(aside)


def exchange_folders(one: Path, other: Path) -> bool:
    """Swap two directories in one step (Linux `renameat2`); False where the system cannot."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    # AT_FDCWD and RENAME_EXCHANGE of <linux/fs.h>; Python has no name for them.
    here, exchange_flag = -100, 2
    return swap is not None and swap(here, os.fsencode(one), here, os.fsencode(other), exchange_flag) == 0
