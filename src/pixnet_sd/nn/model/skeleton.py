"""Meta tensors of a described network: names, shapes and types, without memory. Torch only.

A forged description of a few bytes can require gigabytes. So the network is first built without memory, and compared
with the stored weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.network.config import NetworkConfig, is_whole
from pixnet_sd.nn.network.margin import FARTHEST_PX
from pixnet_sd.nn.network.network import PixNet, ReceptiveField

# Factories of weights. Others, as `linspace`, stay as they are: timm reads the values of their tensors.
FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


class WithoutMemory(TorchFunctionMode):
    """Create weights on torch's "meta" device, where tensors have shapes and types but no values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func in FACTORIES and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


def meta_tensors(member: Mapping[str, Any], genes: int) -> dict[str, Tensor]:
    """Return the tensors of one member by name, without values."""
    with WithoutMemory():
        return dict(build_network(member, genes).state_dict())


def build_network(member: Mapping[str, Any], genes: int) -> PixNet:
    """Build a described network with random weights."""
    reach = ReceptiveField(*(check_pixels(member, name) for name in ReceptiveField._fields))
    return PixNet(NetworkConfig.from_json(member["network"]), genes, encoder_weights=None, reach=reach)


def check_pixels(member: Mapping[str, Any], name: str) -> int:
    if not is_whole(member[name], 0, FARTHEST_PX):
        raise PixnetValueError(
            f"`{name}` must be a whole number of pixels from 0 to {FARTHEST_PX}; got {member[name]!r}."
        )
    return int(member[name])
