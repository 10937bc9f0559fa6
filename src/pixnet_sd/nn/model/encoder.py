"""Frozen encoders that a model names instead of holding, since their terms forbid to pass them on. Torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.build import build_encoder
from pixnet_sd.nn.encoders.foundation import FOUNDATION
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.ensemble import Ensemble

KEYS = ("name", "revision", "sha256", "tensors")
PLACE = "features.encoder."


def reference_encoder(network: Ensemble) -> dict[str, str] | None:
    """Describe the encoder that is to be fetched when the model is loaded; None for one that the file holds.

    Permissive encoders are held, and those that were trained on or never published.
    """
    row, encoder = FOUNDATION.get(network.members[0].config.encoder), network.members[0].encoder
    if row is None or row.commercial or not encoder.published or not network.shares_features:
        return None
    return dict(zip(KEYS, (row.name, row.revision, row.sha256 or "", tensors_sha256(encoder)), strict=True))


def tensors_sha256(module: nn.Module) -> str:
    """Compute a checksum of names, types, shapes and values, whatever file they came from."""
    found = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        found.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def is_encoder_weight(key: str) -> bool:
    """Return whether a weight of a model is one of an encoder's: members.N.features.encoder..."""
    return key.split(".", 2)[-1].startswith(PLACE)


def fetch_encoder(
    reference: Mapping[str, str], config: NetworkConfig, weights: str | Path | None, members: int
) -> dict[str, Tensor]:
    """Return the weights of the named encoder for all members; they must be those that the model was trained on."""
    encoder = build_encoder(
        config.encoder,
        weights=weights,
        window_px=config.window_px,
        depth=config.encoder_depth,
        dim=config.encoder_dim,
    )
    if tensors_sha256(encoder) != reference["tensors"]:
        raise PixnetValueError(
            f"The model was trained on other weights of {reference['name']!r} than these: on those of revision "
            f"{reference['revision']}, sha256 {reference['sha256'][:12]}..., if they were fetched. Pass that file: "
            "ps.Model.load(..., encoder_weights=...)."
        )
    state = encoder.state_dict()
    return {f"members.{number}.{PLACE}{key}": value for number in range(members) for key, value in state.items()}
