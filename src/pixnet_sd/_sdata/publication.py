"""Bring a raster that grew beside a store, and what belongs to it, into the store, and finish that after any stop.

Each element is moved by one rename. Which ones have been moved is told by their inodes, which a rename keeps: they are
noted before the first move, so a call that follows a kill moves the others, and never swaps one back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatialdata import SpatialData

from pixnet_sd._sdata import locks, store, stream

NOTE = "publishing.json"
OTHERS = "others.zarr"


def is_begun(sdata: SpatialData, key: str) -> bool:
    """Whether a call was stopped while it moved this raster into the store."""
    return (stream.folder_of(sdata, key) / NOTE).exists()


def stage(raster: stream.Growing, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Write all that goes with the raster beside it, and note the order in which they will be moved.

    What the raster's meaning depends on goes before it.
    """
    others = raster.folder / OTHERS
    shutil.rmtree(others, ignore_errors=True)
    kinds = store.stage({**before, **after}, others)
    paths = [others / kinds[key] / key for key in before]
    paths += [raster.element, *(others / kinds[key] / key for key in after)]
    note = raster.folder / f"{NOTE}.partial"
    note.write_text(json.dumps([[str(path.relative_to(raster.folder)), path.stat().st_ino] for path in paths]))
    note.rename(raster.folder / NOTE)


def publish(sdata: SpatialData, raster: stream.Growing, *, obsolete: str | None) -> dict[str, Any]:
    """Move what was staged into the store, and an image that it makes obsolete out of it; give back what is there."""
    target = store.store_path(sdata)
    noted = [(raster.folder / path, inode) for path, inode in json.loads((raster.folder / NOTE).read_text())]
    kinds = {path.name: path.parent.name for path, _ in noted}
    with locks.turn(target):
        store.require_places(target, kinds)
        for path, inode in noted:
            kind, final = path.parent.name, target / path.parent.name / path.name
            if not (final.exists() and final.stat().st_ino == inode):
                store.move_element(path, target, kind, raster.folder)
        if obsolete is not None:
            move_away(target / "images" / obsolete, raster.folder)
        return store.consolidated(sdata, kinds)


def move_away(path: Path, folder: Path) -> None:
    if path.exists():
        path.rename(folder / f"obsolete-{path.name}")


def dispose(raster: stream.Growing) -> None:
    """Remove the folder; under another name first, so that a stop in between leaves nothing to be resumed."""
    done = raster.folder.with_suffix(".done")
    shutil.rmtree(done, ignore_errors=True)
    raster.folder.rename(done)
    shutil.rmtree(done, ignore_errors=True)
