"""Any CNN of timm that returns features, as an encoder. Torch, timm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import timm
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.base import Encoder


class Cnn(Encoder):
    """Any timm CNN that can return features."""

    def __init__(self, name: str, levels: Sequence[int] | None = None) -> None:
        timm_model = create_cnn(name, levels)
        config = timm_model.pretrained_cfg
        super().__init__(
            timm_model.feature_info.channels(),
            timm_model.feature_info.reduction(),
            mean=config["mean"],
            std=config["std"],
        )
        self.model = prune_stages(timm_model)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W) RGB in [0, 1] as maps, fine to coarse."""
        return self.model(self.normalize(image))

    def blocks(self) -> list[nn.Module]:
        return list(flat_blocks(self.model.children()))


def prune_stages(model: Any) -> Any:
    """Remove the stages after the deepest map, which timm's EfficientNets would carry and compute."""
    container, _, stage = model.feature_info.module_name()[-1].partition(".")
    if container == "blocks" and stage.isdigit():
        model.blocks = model.blocks[: int(stage) + 1]
    return model


def flat_blocks(modules: Iterable[nn.Module]) -> Iterable[nn.Module]:
    """Yield blocks: stages that contain blocks are flattened, modules without parameters skipped."""
    for module in modules:
        if isinstance(module, nn.Sequential | nn.ModuleList):
            yield from flat_blocks(module)
        elif hasattr(module, "blocks"):
            yield from flat_blocks(module.children())
        elif any(True for _ in module.parameters()):
            yield module


def create_cnn(name: str, levels: Sequence[int] | None) -> Any:
    try:
        if not timm.is_model(name):  # also stops timm from asking a hub for "hf-hub:..."
            raise ValueError("unknown model")
        options: dict[str, Any] = {} if levels is None else {"out_indices": tuple(levels)}
        model: Any = timm.create_model(name, pretrained=False, features_only=True, **options)
    except (RuntimeError, AttributeError, IndexError, AssertionError, ValueError) as error:
        raise PixnetValueError(
            f'No encoder {name!r} with levels {levels}: timm says {error}. Give "stain", a name from '
            "`pixnet_sd.encoders()`, or a CNN from `timm.list_models()` that supports features."
        ) from error
    strides = model.feature_info.reduction()
    if any(stride & (stride - 1) for stride in strides) or len(set(strides)) < len(strides):
        raise PixnetValueError(
            f"Encoder {name!r} has strides {strides}; a pyramid needs different powers of two. Choose a CNN, or a "
            "foundation model from `pixnet_sd.encoders()`."
        )
    return model
