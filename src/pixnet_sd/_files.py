"""Files that appear whole, and an error that says what to do where the disk has no room for them. Knows only files."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._settings import settings

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The disk, a quota, or a limit on the size of files."""


def cache_dir() -> Path:
    """Return the folder of what was computed once and is kept."""
    import pooch

    return Path(settings.cache_dir or pooch.os_cache("pixnet_sd")).expanduser()


def replace_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of a folder, all of them beside the old ones first, so that little can go wrong in between."""
    written = {name: folder / f"{name}.partial" for name in contents}
    for name, path in written.items():
        path.unlink(missing_ok=True)  # what a killed process left; a link is removed, never followed
        with path.open("xb") as file:
            file.write(contents[name])
            file.flush()
            # Else the rename may reach the disk before the contents do, and a power cut leave an empty file.
            os.fsync(file.fileno())
    for name, path in written.items():
        path.replace(folder / name)


@contextmanager
def explain_full_disk(folder: Path, *, after: str) -> Iterator[None]:
    """While something is written into a folder; `after` says how things stand if that fails."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise PixnetRuntimeError(
            f"There is no more room ({error}; {shutil.disk_usage(folder).free:,} bytes are free). {after} "
            "Make room and repeat the call."
        ) from error


def check_room(folder: Path, needed: int, what: str, *, otherwise: str) -> None:
    """Before long work: what will be written must fit."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise PixnetRuntimeError(
            f"{what} takes up to {needed:,} bytes, and {free:,} are free in {folder}. Make room, or {otherwise}."
        )
