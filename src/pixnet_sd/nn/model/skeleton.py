"""What a description would build: the names, shapes and types of its tensors, without their memory. Torch only.

A forged description of a few bytes can ask for a network of gigabytes. So it is drawn first, and compared with the
weights that came with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.network.margin import FARTHEST_PX
from pixnet_sd.nn.network.network import NetworkConfig, PixNet, ReceptiveField
from pixnet_sd.nn.network.values import is_whole

FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
"""How weights come to be. Others, as `linspace`, are left alone: timm reads numbers from what they give."""


class WithoutMemory(TorchFunctionMode):
    """Tensors have shapes and types but no values: torch's "meta" device, for weights only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func in FACTORIES and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


def meta_tensors(member: Mapping[str, Any], genes: int) -> dict[str, Tensor]:
    """The tensors of one member, by their names."""
    with WithoutMemory():
        return dict(build_network(member, genes).state_dict())


def build_network(member: Mapping[str, Any], genes: int) -> PixNet:
    """The network that was described, its weights still to be filled in."""
    reach = ReceptiveField(*(weight_pixels(member, name) for name in ReceptiveField._fields))
    return PixNet(NetworkConfig.from_json(member["network"]), genes, encoder_weights=None, reach=reach)


def weight_pixels(member: Mapping[str, Any], name: str) -> int:
    if not is_whole(member[name], 0, FARTHEST_PX):
        raise PixnetValueError(
            f"`{name}` must be a whole number of pixels from 0 to {FARTHEST_PX}; got {member[name]!r}."
        )
    return int(member[name])
