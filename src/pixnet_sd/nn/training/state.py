"""Everything that changes while one network is trained. Torch and numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.dataset import ShapeDataset
from pixnet_sd.nn.training.memory import crops_at_once


@dataclass
class History:
    """Training curves, by epoch."""

    loss: list[float] = field(default_factory=list)
    """Mean over the batches."""
    score: list[float] = field(default_factory=list)
    """Pearson on the validation data, mean over genes and sections; empty without such data."""

    @property
    def postfix(self) -> str:
        """The latest values, for a progress bar."""
        return f"loss {self.loss[-1]:.3f}" + (f", validation {self.score[-1]:.3f}" if self.score else "")

    @property
    def best(self) -> int:
        """The epoch with the best score; the last one without scores."""
        return int(np.nanargmax(self.score)) if np.isfinite(self.score).any() else len(self.loss) - 1


class TrainState:
    """One network with its optimizer, running mean and curves; between epochs it can be stored and restored."""

    def __init__(
        self,
        network: PixNet,
        training: Sequence[ShapeDataset],
        validation: Sequence[ShapeDataset],
        config: TrainConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network, self.config, self.device = network.to(device), config, device
        self.training = [replace(one, at_once=crops_at_once(network, one, config, device)) for one in training]
        self.validation = validation
        network.encoder.set_trainable(config.encoder)
        network.decoder.set_dropout(config.dropout, config.feature_dropout)
        self.averaged = deepcopy(network).requires_grad_(False).eval()
        self.best = deepcopy(network.state_dict())
        self.optimizer = torch.optim.AdamW(parameter_groups(network, config))
        self.steps, self.history = 0, History()
        batches = sum(-(-len(dataset.crops) // config.crops) for dataset in training)
        self.epochs = -(-config.steps // batches)
        self.last_step = self.epochs * batches
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]

    @property
    def trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the score has not improved for too long."""
        done = len(self.history.loss)
        patience = max(1, round(self.config.patience * self.epochs))
        stalled = bool(self.history.score) and done - 1 - self.history.best >= patience
        return done >= self.epochs or stalled

    def set_learning_rates(self) -> None:
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * learning_rate_factor(self.steps, self.last_step, self.config.warmup)

    @torch.no_grad()
    def update_average(self) -> None:
        """Update the running mean of the weights; its decay rises, so the initial weights are soon forgotten."""
        decay = min(self.config.ema, self.steps / (self.steps + 10))
        pairs = zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True)
        for own, new in pairs:
            if own.is_floating_point():
                own.lerp_(new, 1 - decay)
            else:
                own.copy_(new)


def parameter_groups(network: PixNet, config: TrainConfig) -> list[dict[str, object]]:
    """Group the trained parameters: only matrices of the decoder decay; the encoder has its own learning rate."""
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    decaying = {id(parameter) for parameter in network.decoder.parameters() if parameter.ndim > 1}
    own = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rest = [parameter for parameter in own if id(parameter) not in encoder | decaying]
    groups: list[dict[str, object]] = [
        {"params": [p for p in own if id(p) in decaying], "lr": config.peak_lr, "weight_decay": config.weight_decay},
        {"params": rest, "lr": config.peak_lr, "weight_decay": 0.0},
        {"params": [p for p in own if id(p) in encoder], "lr": config.encoder_lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Rise linearly to 1, then fall along half a cosine to 0."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
