"""Folders of vendors, read through spatialdata-io, an optional dependency."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError

FAILURES = (AssertionError, IndexError, KeyError, OSError, RuntimeError, TypeError, ValueError)
"""Exceptions of spatialdata-io and its dependencies for folders that they cannot read."""
INSTALL = 'pip install "pixnet-sd[io]"'


def import_readers() -> ModuleType:
    try:
        import spatialdata_io
    except ImportError as error:
        raise PixnetRuntimeError(
            f"Reading vendors' folders needs spatialdata-io, which cannot be imported ({error}). Install it: {INSTALL}"
        ) from error
    return spatialdata_io


@contextmanager
def named_folder_errors(folder: Path, kind: str) -> Iterator[None]:
    """Convert errors into one that names the folder, and hide warnings about images that are not used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except FAILURES as error:
            raise PixnetValueError(
                f"{folder} could not be read as {kind}: {type(error).__name__}: {error}. It should be the folder as "
                "the instrument's software wrote it, with nothing renamed or left out."
            ) from error


def folder_of(path: str | Path, needed: str, kind: str) -> Path:
    """Return the path if it holds the files that every such folder has."""
    folder = Path(path)
    if not any(folder.glob(needed)):
        inside = sorted(entry.name for entry in folder.iterdir())[:8] if folder.is_dir() else "no folder"
        raise PixnetValueError(
            f"{folder} is not {kind}: it has no {needed}; found {inside}. Pass the folder that holds {needed}."
        )
    return folder


def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def single_file(found: list[Path], what: str, argument: str) -> Path | None:
    """Return the only file found, or None; raise if the caller has to choose."""
    if len(found) > 1:
        names = [path.name for path in found]
        raise PixnetValueError(f"There are {len(found)} files for {what}: {names}. Choose one with {argument}=...")
    return found[0] if found else None
