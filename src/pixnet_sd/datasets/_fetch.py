"""Downloaded files: cache folder and checksums."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pixnet_sd._errors import PixnetRuntimeError

DATA_DIR_VARIABLE = "PIXNET_SD_DATA_DIR"
"""Environment variable for the folder; the default is the user's cache folder."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that never changes: its URL, cache path and checksum."""

    path: str
    """Path in the data folder, with forward slashes."""
    url: str
    """URL of the download."""
    sha256: str
    """Checksum, in lower-case hexadecimal."""


def data_dir() -> Path:
    """Return the folder of downloaded files."""
    import pooch

    return Path(os.environ.get(DATA_DIR_VARIABLE) or pooch.os_cache("pixnet_sd")).expanduser()


def fetch_file(file: RemoteFile) -> Path:
    """Return the local path of the file, after a download if needed. Its checksum is verified."""
    target = data_dir() / file.path
    if target.exists():
        check_sum(target, file)
    else:
        download_file(target, file)
    return target


def check_sum(target: Path, file: RemoteFile) -> None:
    # pooch would download again and replace the file, which a user may have put here by hand.
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
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        raise PixnetRuntimeError(
            f"Could not fetch {file.path}: it is not at {target}, and downloading {file.url} failed with "
            f"{type(error).__name__}: {error}\n"
            f"Download that file by other means and put it at {target} (sha256 {file.sha256}), "
            f"or point the environment variable {DATA_DIR_VARIABLE} to a folder that has it at {file.path}."
        ) from error
