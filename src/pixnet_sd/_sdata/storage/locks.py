"""Who may write in a folder: locks that end with their process, however that ends. Knows only files.

One process has the folder for itself, or several have a part of the work each. A store is written to in turns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._settings import logger


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock the folder for one process, which may then start others for parts."""
    with file_lock(folder / "lock"):
        for part in sorted(folder.glob("lock-*")):
            with file_lock(part):
                pass
        yield


@contextmanager
def part_lock(folder: Path, name: str, *, driven: bool) -> Iterator[None]:
    """Lock one part of the work; unless another process drives it, nobody may lock the whole meanwhile."""
    if driven:
        with file_lock(folder / f"lock-{name}"):
            yield
    else:
        with file_lock(folder / "lock", shared=True), file_lock(folder / f"lock-{name}"):
            yield


@contextmanager
def file_lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    with path.open("a+") as file:
        try:
            lock_descriptor(file.fileno(), shared=shared)
        except (BlockingIOError, PermissionError) as error:  # network file systems say the latter
            raise PixnetRuntimeError(
                f"Another process is writing this result; it works in {path.parent}. Wait for it, or give another name."
            ) from error
        except OSError as error:
            logger.warning("no lock in %s (%s): see to it that no two processes do the same work", path.parent, error)
        yield


def lock_descriptor(descriptor: int, *, shared: bool) -> None:
    with suppress(ImportError):  # no such locks on Windows
        import fcntl

        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@contextmanager
def store_lock(folder: Path) -> Iterator[None]:
    """Lock a store until the end of the block. The folder itself is locked, so no file is left behind."""
    with ExitStack() as stack:
        if os.name == "posix":
            stack.callback(os.close, open_locked(folder, wait=True))
        yield


def is_abandoned(folder: Path) -> bool:
    """Check whether the process that had the lock has ended; False if that cannot be known."""
    if os.name != "posix":
        return False
    try:
        os.close(open_locked(folder, wait=False))
    except OSError:
        return False
    return True


def open_locked(folder: Path, *, wait: bool) -> int:
    """Open a descriptor that holds the lock until it is closed."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody else's, or a file system without locks
        if not wait:
            os.close(descriptor)
            raise
    return descriptor
