"""Find, rename and load published weights of an encoder, from the hub or a file.

Safetensors only: a pickle can run code when it is opened. Torch, timm, safetensors, huggingface_hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd.nn.encoders.foundation import FOUNDATION, Foundation

PRETRAINED = "pretrained"
FILE = "model.safetensors"
CONVERT = (
    "If you trust the file, convert it once: safetensors.torch.save_file(torch.load('{name}', weights_only=True), "
    "'model.safetensors'), and give that file as `weights`."
)


def locate_weights(name: str, weights: str | Path | None) -> Path | None:
    """Return the file with the weights of the encoder called `name`; None for random weights."""
    if weights is None:
        return None
    path = fetch_weights(name, FOUNDATION.get(name)) if weights == PRETRAINED else Path(weights)
    if not path.is_file():
        raise PixnetValueError(f"There is no weights file at {path}.")
    return path


def fill_encoder(model: nn.Module, name: str, path: Path) -> None:
    """Load the weights of the encoder called `name` into `model`, every one of them."""
    state = read_weights(path)
    load_weights(model, vit_names(state, model) if name in FOUNDATION else state, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise PixnetValueError(
            f"{path} is not a safetensors file ({error}); other formats are not opened. "
            + CONVERT.format(name=path.name)
        ) from error


def load_weights(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load all weights of a model. Surplus tensors of the file, such as a classifier, are ignored; missing ones raise.

    timm writes `stages_0` for `stages.0` in models that return features, so names are compared without the difference.
    """
    found = {key.replace(".", "_"): value for key, value in state.items()}
    own = model.state_dict()
    needed = {key: found[key.replace(".", "_")] for key in own if key.replace(".", "_") in found}
    lacking = sorted(set(own) - set(needed))
    wrong = [
        f"{key} is {tuple(value.shape)}, not {tuple(own[key].shape)}"
        for key, value in needed.items()
        if value.shape != own[key].shape
    ]
    if lacking or wrong:
        raise PixnetValueError(
            f"{path} does not hold the weights of this encoder: {len(lacking)} of {len(own)} tensors are missing "
            f"(such as {lacking[:2]}), {len(wrong)} have another shape ({wrong[:2]})."
        )
    model.load_state_dict(needed)


def fetch_weights(name: str, row: Foundation | None) -> Path:
    """Return the published weights, from the hub's cache or downloaded."""
    repository = cnn_repository(name) if row is None else row.hub
    cached = huggingface_hub.try_to_load_from_cache(repository, FILE)
    if isinstance(cached, str):
        return Path(cached)
    if row is not None and row.gated and not huggingface_hub.get_token():
        raise PixnetRuntimeError(
            f"The weights of {name!r} ({row.license}) are gated: request access at {row.url}, then set the "
            "environment variable HF_TOKEN to your token. Or give a local safetensors file as `weights`."
        )
    return download_weights(name, repository)


def download_weights(name: str, repository: str) -> Path:
    url = f"https://huggingface.co/{repository}"
    try:
        # Tensors only, so another revision is other numbers and never code; a local file pins the bytes.
        return Path(huggingface_hub.hf_hub_download(repository, FILE))  # nosec B615
    except LocalEntryNotFoundError as error:
        reason = f"the hub cannot be reached ({error})"
    except EntryNotFoundError:
        reason = f"{url} has no {FILE}. Download its other file. {CONVERT.format(name='pytorch_model.bin')}"
    except (HfHubHTTPError, OSError) as error:
        reason = f"{url} says: {error}. Request access there, and set HF_TOKEN to a token that has it"
    raise PixnetRuntimeError(f"Could not fetch the weights of {name!r}: {reason}. A local file works as `weights`.")


def cnn_repository(name: str) -> str:
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise PixnetRuntimeError(f"timm publishes no weights for {name!r}. Give a safetensors file as `weights`.")
    return str(config.hf_hub_id).rstrip("/")


def vit_names(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Rename a published ViT's tensors as timm does, and fit its position embeddings to this model."""
    if any(key.startswith("trunk.") for key in state):
        state = {key.removeprefix("trunk."): value for key, value in state.items() if key.startswith("trunk.")}
    if "embeddings.cls_token" in state:
        state = from_transformers(state)
    return fit_positions(dict(state), model)


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


def fit_positions(state: dict[str, Tensor], vit: Any) -> dict[str, Tensor]:
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
        positions = resample_abs_pos_embed(positions, list(vit.patch_embed.grid_size), num_prefix_tokens=prefix)
    return {**state, "pos_embed": positions}
