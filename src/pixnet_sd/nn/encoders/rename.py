"""Names and positions of a published ViT's tensors, as timm has them. Torch, timm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.foundation import Foundation


def vit_names(state: Mapping[str, Tensor], model: Any, row: Foundation) -> dict[str, Tensor]:
    """Rename a published ViT's tensors as timm does, and fit its position embeddings to this model."""
    if any(key.startswith("trunk.") for key in state):
        state = {key.removeprefix("trunk."): value for key, value in state.items() if key.startswith("trunk.")}
    if "embeddings.cls_token" in state:
        state = from_transformers(state)
    check_blocks(state, model)
    return fit_positions(dict(state), model, antialias=row.antialias)


def check_blocks(state: Mapping[str, Tensor], model: Any) -> None:
    """Check that no tensor of the blocks would be ignored, such as the layer scale of a network that has none here."""
    own = model.state_dict()
    surplus = [key for key in state if key.startswith("blocks.") and key not in own]
    if surplus:
        raise PixnetValueError(
            f"The weights have {len(surplus)} tensors in their blocks that this encoder has no place for, such as "
            f"{surplus[:2]}: they belong to another network."
        )


# DINOv2 in Hugging Face transformers (Phikon-v2, Hibou): beginnings of names there and in timm.
TRANSFORMERS = {
    r"embeddings\.cls_token": "cls_token",
    r"embeddings\.register_tokens": "reg_token",
    r"embeddings\.position_embeddings": "pos_embed",
    r"embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.": r"blocks.\1.attn.\2.",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense\.": r"blocks.\1.attn.proj.",
    r"encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1": r"blocks.\1.ls\2.gamma",
    r"encoder\.layer\.(\d+)\.mlp\.weights_in\.": r"blocks.\1.mlp.fc1.",
    r"encoder\.layer\.(\d+)\.mlp\.weights_out\.": r"blocks.\1.mlp.fc2.",
    r"encoder\.layer\.(\d+)\.": r"blocks.\1.",
    r"layernorm\.": "norm.",
}


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {timm_name(key): value for key, value in state.items()}
    for key in [key for key in renamed if ".attn.query." in key]:
        parts = [renamed.pop(key.replace("query", part)) for part in ("query", "key", "value")]
        renamed[key.replace("query", "qkv")] = torch.cat(parts)
    return renamed


def timm_name(key: str) -> str:
    for pattern, replacement in TRANSFORMERS.items():
        renamed, changes = re.subn(f"^{pattern}", replacement, key)
        if changes:
            return renamed
    return key


def fit_positions(state: dict[str, Tensor], vit: Any, *, antialias: bool) -> dict[str, Tensor]:
    """Resample position embeddings to this model's grid of tokens.

    DINOv2 has a position for the class token too; a model without one gets the sum of both as its class token.
    """
    if "pos_embed" not in state:
        return state
    positions, own = state["pos_embed"], vit.pos_embed.shape[1]
    prefix = own - vit.patch_embed.num_patches
    extra = positions.shape[1] - isqrt(positions.shape[1]) ** 2
    if prefix == 0 and extra == 1:
        state["cls_token"] = state["cls_token"] + positions[:, :1]
        positions = positions[:, 1:]
    if positions.shape[1] != own:
        size = list(vit.patch_embed.grid_size)
        positions = resample_abs_pos_embed(positions, size, num_prefix_tokens=prefix, antialias=antialias)
    return {**state, "pos_embed": positions}
