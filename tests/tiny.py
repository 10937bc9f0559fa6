"""Models small enough to predict in a tenth of a second."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet

CONFIG = NetworkConfig(
    encoder="stain", widths=(8, 8, 8, 8), programs=3, context_um=(), mpp=0.5, stride=4, decoder="safb"
)

# To train on in seconds: stain and texture alone.
STAIN = NetworkConfig(encoder="stain", levels=None, mpp=0.5, stride=4, widths=(64,), context_um=(150.0,))


def model(genes: Sequence[str], seed: int = 0, *, scores: Mapping[str, float] | None = None, **changes: Any) -> Model:
    """One network with random weights, with some changes of its configuration."""
    torch.manual_seed(seed)
    network = PixNet(NetworkConfig.from_json({**CONFIG.to_json(), **changes}), len(genes), encoder_weights=None)
    return Model([network], list(genes), Card("tiny", scores=dict(scores or {})))
