"""Whether results can have the names that they would get: all that can be known before the work, and again after it.

What takes the place of something must be named exactly like it, be of its kind, and replace a result of this package.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import zarr
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetRuntimeError, PixnetValueError
from pixnet_sd._keys import check_free
from pixnet_sd._sdata import provenance
from pixnet_sd._sdata.storage import consolidated
from pixnet_sd._sdata.storage.origin import store_path

NAME = re.compile(r"(?!\.|__)[\w.-]+")
"""What SpatialData allows, less names that begin with a dot, which hide."""
RESERVED = "zarr.json"
"""A file of every folder of a store."""
LONGEST = 255
"""Bytes of a name, on common file systems."""
SEPARATOR = "+"
"""Between the names of store and element in that of the folder where it grows: a store's name may hold dots, no
element's a plus."""
ZARR_FORMAT = 3
"""Of what SpatialData writes now; elements of two formats in one store cannot be read."""


def check_result_names(keys: Iterable[str]) -> None:
    for key in keys:
        if not NAME.fullmatch(key) or key.lower() == RESERVED or len(os.fsencode(key)) > LONGEST:
            raise PixnetValueError(
                f"An element cannot be called {shorten_name(key)!r}: names are of letters, digits, '_', '-' and '.', "
                f"do not begin with '.' or '__', have at most {LONGEST} bytes, and are not {RESERVED!r}. Pass another "
                "name for the result."
            )


def shorten_name(key: str) -> str:
    return key if len(key) <= 80 else f"{key[:60]}... ({len(key)} characters)"


def check_places(
    sdata: SpatialData, kinds: Mapping[str, str], *, overwrite: bool, done: Collection[str] = (), theirs: bool = False
) -> None:
    """Check names of results with their kinds; `done` were put there by a call that was interrupted.

    With `theirs`, what this package did not make may be replaced too, for calls that add to an element.
    """
    there = find_elements(sdata)
    taken = {name for _, name in there}
    check_other_names(kinds, taken)
    check_kinds(kinds, there)
    replaced = sorted((taken & kinds.keys()) - {*done})
    if not theirs:
        check_ownership(sdata, replaced)
    check_free(replaced, taken, overwrite=overwrite)


def find_elements(sdata: SpatialData) -> set[tuple[str, str]]:
    """Find kinds and names, also of elements that are in the store or the object only."""
    held = {(kind, name) for kind, name, _ in sdata.gen_elements()}
    return held | (list_stored(store_path(sdata)) if sdata.is_backed() else set())


def list_stored(store: Path) -> set[tuple[str, str]]:
    """List kinds and names of all that is in a store, whole or not."""
    return {(kind, path.name) for kind in consolidated.KINDS for path in (store / kind).glob("[!.]*") if path.is_dir()}


def check_other_names(keys: Iterable[str], taken: set[str]) -> None:
    """Refuse names that differ only in case, with which SpatialData does not open a store."""
    others = {name.lower(): name for name in taken}
    for key in keys:
        if (other := others.setdefault(key.lower(), key)) != key:
            raise PixnetKeyError(
                f"The result {key!r} would be beside {other!r}; names must differ by more than the case of letters. "
                "Pass another name for the result."
            )


def check_kinds(kinds: Mapping[str, str], there: set[tuple[str, str]]) -> None:
    """Refuse the name of an element of another kind, which the result would replace."""
    for kind, name in sorted(there):
        if kinds.get(name, kind) != kind:
            raise PixnetKeyError(
                f"The result {name!r} would be among the {kinds[name]} and replace what is there among the {kind}. "
                "Pass another name for the result."
            )


def check_ownership(sdata: SpatialData, keys: Iterable[str]) -> None:
    """Nobody's data are lost to a result, whatever may be overwritten."""
    stored = provenance.stored_elements(store_path(sdata)) if sdata.is_backed() else {}
    for key in keys:
        if key not in stored and not is_ours(sdata, key):
            raise PixnetKeyError(
                f"The result would replace {key!r}, which is not recorded as a result of this package. Pass another "
                f"name for the result, or remove that element first: {describe_removal(sdata, key)}."
            )


def is_ours(sdata: SpatialData, key: str) -> bool:
    """Check whether an element is our result; tables say so also if the object's records are lost."""
    in_itself = key in sdata.tables and provenance.SLOT in sdata.tables[key].uns
    return in_itself or provenance.get_record(sdata, key) is not None


def describe_removal(sdata: SpatialData, key: str) -> str:
    """Describe how to remove an element from the object, and from its store."""
    held = f"del sdata[{key!r}]" if key in sdata else ""
    stored = [name for _, name in list_stored(store_path(sdata))] if sdata.is_backed() else []
    return " and ".join(filter(None, [held, f"sdata.delete_element_from_disk({key!r})" if key in stored else ""]))


def check_store(store: Path, keys: Iterable[str]) -> None:
    """Check that results can be written beside the store, and moved into it."""
    check_writable(store)
    check_movable(store)
    for key in keys:
        check_path_length(store, key)


def check_writable(store: Path) -> None:
    """Check that this process can write, in the format of zarr that SpatialData writes now."""
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


def check_movable(store: Path) -> None:
    """Check by a trial that folders can be moved: bind mounts share device numbers, but allow no rename."""
    places = [store, *(store / kind for kind in consolidated.KINDS if (store / kind).exists())]
    with tempfile.TemporaryDirectory(prefix=f".{store.name}.trial-", dir=store.parent) as folder:
        for place in places:
            # A name of its own, so that two processes may try at the same time.
            trial, moved = Path(folder) / "trial", place / Path(folder).name
            trial.mkdir()
            try:
                trial.rename(moved)
            except OSError as error:
                raise PixnetRuntimeError(
                    f"The store {store} takes no result: nothing can be moved from {store.parent}, where results are "
                    f"written first, into {place} ({error.strerror}). Both must be on one file system. Use "
                    "inplace=False to get the result, or copy the store."
                ) from error
            moved.rename(trial)
            trial.rmdir()


def check_path_length(store: Path, key: str) -> None:
    """Check by a look-up that the file system allows the longest path that a result will need."""
    longest = partial_path(store, key) / "staged.zarr" / "images" / key / "s0" / "c" / "0" / "0" / "0"
    try:
        longest.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PixnetValueError(
                f"The name {shorten_name(key)!r} is too long for the file system of {store} ({longest.parts[-9]!r} "
                f"would be written beside it, at a path of {len(str(longest))} characters). Pass another name for the "
                "result."
            ) from error


def partial_path(store: Path, key: str) -> Path:
    """Name the folder where an element grows."""
    return store.parent / f".{store.name}{SEPARATOR}{key}.partial"
