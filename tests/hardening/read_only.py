"""A folder in which nobody can write, root included: a read-only mount; without root, permissions."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    with mounted_read_only(folder) if not os.geteuid() else without_permission(folder):
        yield


@contextmanager
def mounted_read_only(folder: Path) -> Iterator[None]:
    """The folder over itself."""
    if run("mount", "--bind", str(folder), str(folder)):
        pytest.skip("root cannot mount here")
    try:
        if run("mount", "-o", "remount,ro,bind", str(folder)):
            pytest.skip("root cannot mount read-only here")
        yield
    finally:
        run("umount", str(folder))


@contextmanager
def without_permission(folder: Path) -> Iterator[None]:
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for one in folders:
        one.chmod(0o555)
    try:
        yield
    finally:
        for one in folders:
            one.chmod(0o755)


def run(*command: str) -> int:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 127
