"""Load published weights into an encoder, every one of them. Torch, safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.foundation import FOUNDATION
from pixnet_sd.nn.encoders.rename import vit_names

# Names of an encoder's weights in the file of a model begin with this.
IN_MODEL = "members.0.features.encoder.model."


def fill_encoder(model: nn.Module, name: str, path: Path) -> None:
    """Load the weights of the encoder called `name` into `model`, from a safetensors file."""
    state, row = load_file(path), FOUNDATION.get(name)
    state = {key.removeprefix(IN_MODEL): value for key, value in state.items()}
    load_weights(model, state if row is None else vit_names(state, model, row), path)


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
