"""Renew the consolidated metadata of a store: what it named before, and what has been added.

What another program left half written stands in no metadata, so the store opens. It must stay out of them, also when
they are renewed. Knows only zarr.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import zarr
from zarr.storage import LocalStore, WrapperStore

from pixnet_sd._errors import warn

KINDS = ("images", "labels", "points", "shapes", "tables")
"""Of elements, as their folders are called."""


def renew_metadata(store: Path, added: Iterable[str]) -> None:
    """Have the metadata name these elements ("images/he") too; where nothing is consolidated, nothing will be."""
    root = zarr.open_group(store, mode="r")
    if root.metadata.consolidated_metadata is None:
        return
    named = list_named(root) | {*added, *(path.partition("/")[0] for path in added)}
    with warnings.catch_warnings():
        # Of files that are none of zarr's, such as parquet, and of a format that is not in the standard yet.
        warnings.filterwarnings("ignore", message="Object at|Consolidated metadata")
        zarr.consolidate_metadata(Part(LocalStore(store), frozenset(named)))


def list_named(root: zarr.Group) -> set[str]:
    """List the groups that the metadata name, of kinds and of elements."""
    return {path for kind, group in root.groups() for path in (kind, *(f"{kind}/{name}" for name in group))}


def warn_of_strays(store: Path, replaced: Iterable[str]) -> None:
    """Say what lies in a store that opens only because its metadata do not name it, but for what will be replaced."""
    root = zarr.open_group(store, mode="r")
    if root.metadata.consolidated_metadata is None:
        return
    there = {f"{kind}/{path.name}" for kind in KINDS for path in (store / kind).glob("[!.]*") if is_node(path)}
    if strays := sorted(there - list_named(root) - {*replaced}):
        warn(
            f"{store} holds {', '.join(strays)}, which its metadata do not name: a program was stopped while it wrote "
            "there, or is still writing. The store may not open any more once another program renews the metadata. If "
            "nobody is writing, remove the folder."
        )


def is_node(path: Path) -> bool:
    """Check whether zarr takes a folder for a group or an array."""
    return (path / "zarr.json").exists()


class Part(WrapperStore[LocalStore]):
    """A store that lists only some of its groups, with all that is inside them."""

    def __init__(self, store: LocalStore, listed: frozenset[str]) -> None:
        super().__init__(store)
        self.listed = listed

    def _with_store(self, store: LocalStore) -> Part:
        return Part(store, self.listed)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        async for name in self._store.list_dir(prefix):
            path = f"{prefix.strip('/')}/{name}".lstrip("/")
            if path.count("/") > 1 or path in self.listed:
                yield name
