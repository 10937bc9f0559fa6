"""The model's folder: `weights.safetensors` and `model.json`, written whole and read strictly. No pickle.

Knows files, safetensors and the hub, but not networks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._files import explain_full_disk, replace_files

FORMAT = "pixnet-sd model"
VERSION = 1
WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
SHELF = Path(__file__).parents[2] / "weights"
BUNDLED = SHELF / "default"
HUB = "hf-hub:"
FOREIGN = {b"PK\x03\x04": "a zip archive (a torch file, perhaps)", b"\x80": "a pickle", b"\x1f\x8b": "a gzip archive"}
LARGEST_DESCRIPTION = 64 * 2**20


def write_model(folder: Path, weights: bytes, description: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write both files; an interruption between them leaves a pair whose sha256 does not match, which is refused."""
    if not overwrite and any((folder / name).exists() for name in (WEIGHTS, DESCRIPTION)):
        raise PixnetValueError(f"There is a model at {folder} already. Give another path, or `overwrite=True`.")
    folder.mkdir(parents=True, exist_ok=True)
    header = {"format": FORMAT, "version": VERSION, "sha256": hashlib.sha256(weights).hexdigest()}
    described = json.dumps({**header, **description}, indent=1).encode()
    with explain_full_disk(folder, after="The model was not saved."):
        replace_files(folder, {WEIGHTS: weights, DESCRIPTION: described})


def find_model(name: str | Path) -> Path:
    """Return the folder of a model by its name; a hub name is fetched first."""
    if str(name).startswith(HUB):
        return fetch_model(str(name).removeprefix(HUB))
    folder = BUNDLED if name == "default" else Path(name)
    if path_exists(folder) and folder.is_dir():
        return folder
    if name == "default":
        raise PixnetRuntimeError(f"This installation has no bundled model at {folder}. Give a folder or a hub name.")
    if path_exists(folder) and folder.is_file():
        raise PixnetValueError(
            f"{folder} is {describe_file(folder)}; a model is a folder with {WEIGHTS} and {DESCRIPTION}."
        )
    raise PixnetValueError(f'There is no model at {folder}. Give a folder, "default", or "hf-hub:org/name@revision".')


def path_exists(path: Path) -> bool:
    """Return whether a path exists; also for names that no file can have."""
    try:
        return path.exists()
    except OSError:
        return False


def fetch_model(name: str) -> Path:
    """Download the two files of a pinned revision, or find them in the hub's cache."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repository) or not revision:
        raise PixnetValueError(
            f'A hub model is named "hf-hub:org/name@revision"; got "{HUB}{name}". The revision (a commit or a tag) is '
            "needed, because the files under a name on the hub may change."
        )
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[WEIGHTS, DESCRIPTION]))
    except (OSError, ValueError, RuntimeError) as error:
        raise PixnetRuntimeError(f"Could not fetch {HUB}{name}: {error}") from error


def read_description(folder: Path) -> dict[str, Any]:
    """Read the values of `model.json`, of which only format and version are checked."""
    path = folder / DESCRIPTION
    content = read_content(path, LARGEST_DESCRIPTION)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PixnetValueError(f"{path} is {describe_file(path)}, not the JSON of a model: {error}.") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise PixnetValueError(f'{path} does not describe a model: it has no "format": "{FORMAT}".')
    if values.get("version") != VERSION:
        raise PixnetValueError(
            f"{path} has format version {values.get('version')!r}; this release reads {VERSION}. Use the release of "
            "pixnet-sd that wrote it, or a newer one."
        )
    return values


def compare_tensors(folder: Path, expected: Iterable[Mapping[str, Tensor]]) -> None:
    """Check names, shapes and types of the weights against those that each member expects.

    The file is only memory-mapped, and the members are expected one by one, so a forged file costs no memory.
    """
    path = folder / WEIGHTS
    check_file(path)
    with check_integrity(path):
        found = safetensors.torch.load_file(path)
    for member in expected:
        raise_if_any(path, "lacks", [key for key in member if key not in found])
        raise_if_any(path, "has wrong", list(tensor_differences(found, member)))
        found = {key: value for key, value in found.items() if key not in member}
    raise_if_any(path, "has unknown", sorted(found))


def tensor_differences(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    for key, right in expected.items():
        if (own := found[key]).shape != right.shape or own.dtype != right.dtype:
            yield f"{key} is {tuple(own.shape)} {own.dtype}, not {tuple(right.shape)} {right.dtype}"


def read_weights(folder: Path, sha256: object) -> dict[str, Tensor]:
    """Read all tensors, finite, from the bytes with the description's sha256."""
    path = folder / WEIGHTS
    content = read_content(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise PixnetValueError(
            f"{path} has sha256 {found[:12]}..., but {DESCRIPTION} was written for {str(sha256)[:12]}... The two files "
            "do not belong together; fetch both again."
        )
    with check_integrity(path):
        tensors = safetensors.torch.load(content)
    raise_if_any(path, "is not finite in", [key for key, value in tensors.items() if not torch.isfinite(value).all()])
    return tensors


def raise_if_any(path: Path, problem: str, keys: Sequence[str]) -> None:
    if keys:
        raise PixnetValueError(
            f"{path} {problem} {len(keys)} tensors: {keys[:3]}. It and {DESCRIPTION} do not belong together, or one of "
            "them was edited; fetch both again."
        )


@contextmanager
def check_integrity(path: Path) -> Iterator[None]:
    """Turn any error of safetensors into one that names the file."""
    try:
        yield
    except (SafetensorError, OSError, LookupError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise PixnetValueError(
            f"{path} is {describe_file(path)}, damaged or truncated ({path.stat().st_size} bytes): {error}. "
            "Fetch it again."
        ) from error


def read_content(path: Path, largest: int | None = None) -> bytes:
    check_file(path)
    size = path.stat().st_size
    if largest is not None and size > largest:
        raise PixnetValueError(f"{path} has {size} bytes; more than {largest} cannot be right.")
    return path.read_bytes()


def check_file(path: Path) -> None:
    if not path.is_file():
        raise PixnetValueError(f"There is no {path.name} in {path.parent}; a model has {WEIGHTS} and {DESCRIPTION}.")


def describe_file(path: Path) -> str:
    """Recognize a file by its first bytes."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for magic, name in FOREIGN.items() if start.startswith(magic)), "an unknown file")


# Errors, ours or a library's, that building a network from a forged description can raise.
IMPOSSIBLE = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, AssertionError, RuntimeError, MemoryError),
)


@contextmanager
def named_errors(folder: Path) -> Iterator[None]:
    """Turn any error of a description into one that names its file."""
    try:
        yield
    except IMPOSSIBLE as error:
        raise PixnetValueError(f"{folder / DESCRIPTION} does not describe a model: {error}") from error
