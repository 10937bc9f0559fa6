"""Files from elsewhere, kept in one folder and checked. Knows paths, URLs and sums, not what is in the files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pixnet_sd._errors import PixnetRuntimeError

DATA_DIR_VARIABLE = "PIXNET_SD_DATA_DIR"
"""Environment variable that names the folder; without it, the user's cache folder serves."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that never changes: where it comes from, where it is kept, and how it is recognised."""

    path: str
    """Where it is kept, below the data folder, with forward slashes."""
    url: str
    """Where it is downloaded from."""
    sha256: str
    """The sum of its bytes, in lower-case hexadecimal."""


def data_dir() -> Path:
    """The folder in which fetched files are kept."""
    import pooch

    return Path(os.environ.get(DATA_DIR_VARIABLE) or pooch.os_cache("pixnet_sd")).expanduser()


def fetch_file(file: RemoteFile) -> Path:
    """The path of the file on this machine, after a download where it is not there yet. Its sum always holds."""
    target = data_dir() / file.path
    if target.exists():
        check_sum(target, file)
    else:
        download_file(target, file)
    return target


def check_sum(target: Path, file: RemoteFile) -> None:
    # pooch would download again and replace the file; one that was put here by hand is not ours to replace.
    import pooch

    found = pooch.file_hash(str(target), alg="sha256")
    if found != file.sha256:
        raise PixnetRuntimeError(
            f"{target} is not the file it should be: its sha256 is {found}, expected {file.sha256}. "
            f"Delete it, so that it is fetched again from {file.url}."
        )


def download_file(target: Path, file: RemoteFile) -> None:
    import pooch

    try:
        pooch.retrieve(file.url, f"sha256:{file.sha256}", target.name, target.parent, progressbar=True)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong sum is a ValueError
        raise PixnetRuntimeError(
            f"Could not fetch {file.path}: it is not at {target}, and downloading {file.url} failed with "
            f"{type(error).__name__}: {error}\n"
            f"Download that file by other means and put it at {target} (sha256 {file.sha256}), "
            f"or point the environment variable {DATA_DIR_VARIABLE} to a folder that has it at {file.path}."
        ) from error
