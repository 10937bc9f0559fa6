"""Find published weights: in the hub's cache, on the hub, or in a file; always as safetensors. torch, huggingface_hub.

A pickle can run code when it is opened, and `weights_only=True` had holes (CVE-2025-32434, CVE-2026-24747). So one is
opened only if its sha256 is the one that is pinned here, once, and is kept as safetensors beside the hub's cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._files import check_room
from pixnet_sd._settings import logger
from pixnet_sd.nn.encoders.foundation import FOUNDATION, PICKLE, SAFETENSORS, Foundation

PRETRAINED = "pretrained"
CONVERT = (
    "If you trust the file, convert it once: safetensors.torch.save_file(torch.load('{name}', weights_only=True), "
    "'model.safetensors'), and pass encoder_weights=\"model.safetensors\"."
)
LOCAL = 'Or name a local file: encoder_weights="path/to/model.safetensors".'
TOKENS = "https://huggingface.co/settings/tokens"
# Also base of what the hub's HTTP client raises where there is no answer; which client that is depends on the release.
FAILURES: tuple[type[BaseException], ...] = (EntryNotFoundError, HfHubHTTPError.__bases__[0], OSError)


class Published(NamedTuple):
    """Where the weights of an encoder are."""

    name: str
    hub: str
    files: tuple[str, ...]
    """The file that is pinned, then other names that it might have."""
    access: str
    """How to get access, in words."""
    gated: bool = False
    revision: str = "main"
    sha256: str | None = None
    size_mb: int = 0

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.hub}"


def published_foundation(row: Foundation) -> Published:
    files = tuple(dict.fromkeys([row.file, SAFETENSORS, PICKLE]))
    return Published(row.name, row.hub, files, row.access, row.gated, row.revision, row.sha256, row.size_mb)


def published_cnn(name: str) -> Published:
    """Return where timm publishes the weights of a CNN, unpinned: tensors only, so they are never code."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise PixnetRuntimeError(f"timm publishes no weights for {name!r}. {LOCAL.removeprefix('Or ').capitalize()}")
    hub = str(config.hf_hub_id).rstrip("/")
    return Published(name, hub, (SAFETENSORS,), f"see https://huggingface.co/{hub}")


def locate_weights(name: str, weights: str | Path | None) -> Path | None:
    """Return a safetensors file with the weights of the encoder called `name`; None for random weights."""
    if weights is None:
        return None
    row = FOUNDATION.get(name)
    if weights == PRETRAINED:
        return fetch_weights(published_cnn(name) if row is None else published_foundation(row))
    if not Path(weights).is_file():
        raise PixnetValueError(
            f"There is no weights file at {weights}; pass encoder_weights={PRETRAINED!r} to fetch one."
        )
    return open_safely(Path(weights), None if row is None else row.sha256)


def fetch_weights(source: Published) -> Path:
    """Return the published weights: as kept here, from the hub's cache, or downloaded."""
    if source.sha256 and kept_file(source.sha256).is_file():
        return kept_file(source.sha256)
    path = find_cached(source) or download_weights(source)
    if source.sha256 and path.name == source.files[0] and file_sha256(path) != source.sha256:
        raise PixnetRuntimeError(
            f"{path} has sha256 {file_sha256(path)[:12]}..., not {source.sha256[:12]}..., which is pinned for "
            f"{source.name!r}: the file is damaged or was replaced, and is not used. Delete it and repeat the call. "
            + LOCAL
        )
    return open_safely(path, source.sha256)


def find_cached(source: Published) -> Path | None:
    """Find the file in the hub's cache, where other tools may have spelled its repository otherwise."""
    revisions = dict.fromkeys([source.revision, "main"])
    for hub, revision, file in product(spelled_alike(source.hub), revisions, source.files):
        path = huggingface_hub.try_to_load_from_cache(hub, file, revision=revision)
        # What "main" was when another tool fetched it may be an older file.
        if isinstance(path, str) and (revision == source.revision or file_sha256(Path(path)) == source.sha256):
            return Path(path)
    return None


def spelled_alike(hub: str) -> Iterator[str]:
    """Yield the name of a repository, then those in the cache that differ from it by case."""
    yield hub
    for folder in Path(constants.HF_HUB_CACHE).glob("models--*--*"):
        name = folder.name.removeprefix("models--").replace("--", "/", 1)
        if name != hub and name.lower() == hub.lower():
            yield name


def download_weights(source: Published) -> Path:
    """Download the first of the files that the repository has."""
    if source.gated and not huggingface_hub.get_token():
        raise PixnetRuntimeError(
            f"The weights of {source.name!r} are gated: {source.access} to your token: `export HF_TOKEN=...` before "
            f"Python starts. {LOCAL}"
        )
    check_room(existing_folder(Path(constants.HF_HUB_CACHE)), source.size_mb * 10**6, f"The encoder {source.name!r}",
               otherwise="let HF_HOME name a larger disk")  # fmt: skip
    logger.info("fetching %s from %s, %s MB", source.name, source.url, source.size_mb or "some")
    found = (download_file(source, file) for file in source.files)
    path = next((one for one in found if one is not None), None)
    if path is None:
        raise PixnetRuntimeError(
            f"{source.url} has none of {list(source.files)} at revision {source.revision}: its owner has changed it. "
            + LOCAL
        )
    return path


def download_file(source: Published, file: str) -> Path | None:
    """Download one file of the pinned revision; None if the repository has none of that name."""
    try:
        return Path(huggingface_hub.hf_hub_download(source.hub, file, revision=source.revision))
    except FAILURES as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        reason = explain_failure(source, http_status(error), error)
        raise PixnetRuntimeError(f"Could not fetch the weights of {source.name!r}: {reason} {LOCAL}") from error


def explain_failure(source: Published, status: int | None, error: BaseException) -> str:
    """Say what the hub's answer means, and what to do."""
    gated = type(error).__name__ == "GatedRepoError"
    if status == 401 and huggingface_hub.get_token() and not gated:
        return (
            f"the hub does not accept your token (401). Make a new one at {TOKENS} with the right to read gated "
            "repositories, and `export HF_TOKEN=...` before Python starts."
        )
    if status in (401, 403):
        return (
            f"your token has no access ({status}): {source.access} to a token of the same account. A fine-grained "
            "token also needs the right to read public gated repositories."
        )
    if status == 404:
        return f"{source.url} has no revision {source.revision} (404): its owner has removed it."
    return f"the hub cannot be reached ({error.__cause__ or error}). Repeat the call where there is a network."


def http_status(error: BaseException | None) -> int | None:
    """Return the status of the answer that caused an error; the hub's client may wrap it."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


def open_safely(path: Path, sha256: str | None) -> Path:
    """Return a safetensors file as it is, and the one made of a pickle with the pinned sha256; refuse any other."""
    try:
        with safe_open(path, "pt"):
            return path
    except SafetensorError as error:
        if sha256 is not None and file_sha256(path) == sha256:
            return convert_pickle(path, sha256)
        raise PixnetValueError(
            f"{path} is not a safetensors file ({error}), nor the file whose sha256 is pinned; others are not opened. "
            + CONVERT.format(name=path.name)
        ) from error


def kept_file(sha256: str) -> Path:
    """Return where the tensors of a pickle are kept."""
    return Path(constants.HF_HUB_CACHE).parent / "pixnet_sd" / f"{sha256}.safetensors"


def convert_pickle(path: Path, sha256: str) -> Path:
    """Keep the tensors of a pickle as safetensors; the file appears whole or not at all."""
    kept = kept_file(sha256)
    kept.parent.mkdir(parents=True, exist_ok=True)
    check_room(
        kept.parent, path.stat().st_size, f"{path.name} as safetensors", otherwise="let HF_HOME name a larger disk"
    )
    state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    written = kept.with_name(f"{kept.name}.{os.getpid()}")
    save_file({key: value.contiguous() for key, value in state.items()}, written)
    written.replace(kept)
    return kept


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def existing_folder(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
