"""Bring a raster that grew beside a store, and what belongs to it, into the store, and finish that after any stop.

Each element is moved by one rename. Which ones have been moved is told by their inodes, which a rename keeps: they are
noted before the first move, so a call that follows a kill moves the others, and never swaps one back.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spatialdata import SpatialData

from pixnet_sd._sdata import provenance
from pixnet_sd._sdata.storage import locks
from pixnet_sd._sdata.storage.attach import move_element, open_moved, stage_elements
from pixnet_sd._sdata.storage.growing import PartialRaster, partial_folder
from pixnet_sd._sdata.storage.origin import store_path

NOTE = "publishing.json"
OTHERS = "others.zarr"


def is_publishing(sdata: SpatialData, key: str) -> bool:
    """Check whether a call was interrupted while it moved this raster into the store."""
    return os.path.exists(partial_folder(sdata, key) / NOTE)  # Path.exists raises where a name is too long


def stage_map(raster: PartialRaster, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Write all that goes with the raster beside it, and note the order in which they will be moved.

    What the raster's meaning depends on goes before it.
    """
    others = raster.folder / OTHERS
    shutil.rmtree(others, ignore_errors=True)
    kinds = stage_elements({**before, **after}, others)
    paths = [others / kinds[key] / key for key in before]
    paths += [raster.element, *(others / kinds[key] / key for key in after)]
    note = raster.folder / f"{NOTE}.partial"
    note.write_text(json.dumps([[str(path.relative_to(raster.folder)), path.stat().st_ino] for path in paths]))
    note.rename(raster.folder / NOTE)


def find_moved(sdata: SpatialData, key: str) -> set[str]:
    """Find names of elements that an interrupted call has moved into the store."""
    store = store_path(sdata)
    return {path.name for path, inode in read_inodes(partial_folder(sdata, key)) if is_moved(path, inode, store)}


def read_inodes(folder: Path) -> list[tuple[Path, int]]:
    """Read what is to be moved, and the inode of each."""
    note = folder / NOTE
    return [(folder / path, inode) for path, inode in json.loads(note.read_text())] if note.exists() else []


def is_moved(path: Path, inode: int, store: Path) -> bool:
    final = store / path.parent.name / path.name
    return final.exists() and final.stat().st_ino == inode


def publish_map(
    sdata: SpatialData,
    raster: PartialRaster,
    tables: Mapping[str, Any],
    facts: Mapping[str, dict[str, Any]],
    require: Callable[[], None],
    *,
    obsolete: str | None,
) -> dict[str, Any]:
    """Move what was staged into the store, and an image that it makes obsolete out of it; give back what is there.

    `require` refuses what somebody else may have written since the work began; all that was staged is then kept.
    """
    target = store_path(sdata)
    staged = read_inodes(raster.folder)
    kinds = {path.name: path.parent.name for path, _ in staged}
    with locks.store_lock(target):
        require()
        provenance.announce_results(target, {key: facts[key] for key in kinds})
        for path, inode in staged:
            if not is_moved(path, inode, target):
                move_element(path, target, path.parent.name, raster.folder)
        if obsolete is not None:
            move_aside(target / "images" / obsolete, raster.folder)
        return open_moved(target, kinds, tables)


def move_aside(path: Path, folder: Path) -> None:
    if path.exists():
        path.rename(folder / f"obsolete-{path.name}")


def delete_partial(raster: PartialRaster) -> None:
    """Remove the folder; under another name first, so that a stop in between leaves nothing to be resumed."""
    done = raster.folder.with_suffix(".done")
    shutil.rmtree(done, ignore_errors=True)
    raster.folder.rename(done)
    shutil.rmtree(done, ignore_errors=True)
