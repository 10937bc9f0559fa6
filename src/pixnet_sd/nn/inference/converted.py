"""Converted networks in the user's cache folder: their names, and how they come and go. Torch only."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from pixnet_sd._files import cache_dir
from pixnet_sd._settings import logger
from pixnet_sd.nn.network.ensemble import Ensemble

FOLDER = "openvino"
NETWORKS = Path(__file__).parents[1]
"""Folder of the code of all networks."""
MADE_BY = ("openvino", "torch", "timm")
"""Packages with another version of which a network is converted anew."""
KEPT = 8
"""Networks that are kept, the newest ones."""


def kept_network(network: Ensemble, shape: tuple[int, ...]) -> Path:
    """Return the folder of a converted network for tiles of a shape, named by all that it is made from."""
    digest = hashlib.blake2b(digest_size=16)
    made_from = [member.config for member in network.members], network.rim, shape, list(map(version, MADE_BY))
    digest.update(f"{made_from} {digest_sources()}".encode())
    add_weights(digest, network)
    return cache_dir() / FOLDER / digest.hexdigest()


def add_weights(digest: Any, network: nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())


@cache
def digest_sources() -> str:
    """Hash the code of all networks: one that was changed must not meet what was converted before."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(NETWORKS.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def keep_converted(converted: Any, kept: Path) -> None:
    """Write a converted network whole, beside others, the oldest of which are removed."""
    from openvino import save_model

    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="partial-", dir=kept.parent))
        try:
            save_model(converted, staging / "network.xml", compress_to_fp16=False)
            with suppress(FileExistsError):  # another process was first
                staging.rename(kept)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        remove_oldest(kept.parent)
    except (OSError, RuntimeError) as error:
        logger.info("the converted network is not kept, so the next call converts it again: %s", error)


def remove_oldest(folder: Path) -> None:
    newest_first = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
