"""The base of all encoders, and which of their blocks train. Torch only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError


class Encoder(nn.Module):
    """Base of all encoders.

    `forward` returns one map per entry of `channels`, fine to coarse; map i has one pixel per `strides[i]` input pixels
    and is meant for the pyramid level `levels[i]`. Sides of the input must be multiples of `alignment`.
    """

    has_stain: ClassVar[bool] = False
    """Whether stain statistics are among its features already."""
    window_px: int | None = None
    """Side of the fixed windows that it encodes one by one; None without windows."""
    published: bool = False
    """Whether its weights are as published."""
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        levels: Sequence[int] | None = None,
        alignment: int | None = None,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.channels, self.strides = tuple(channels), tuple(strides)
        self.levels = tuple(levels or strides)
        self.alignment = alignment or max(self.strides)
        self.trained: list[nn.Module] = []
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def normalize(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std

    def margin_probe(self) -> nn.Module:
        """Return a module with the same strides and receptive field, which is measured in its place."""
        return self

    def blocks(self) -> list[nn.Module]:
        """List the blocks in the order of the computation."""
        return []

    def set_trainable(self, which: str) -> None:
        """Train nothing ("frozen"), everything ("all"), or the last N blocks ("last:N").

        Frozen blocks get no gradient and stay in eval mode, so their batch norms keep their statistics.
        """
        self.published &= which == "frozen"
        self.trained = [self] if which == "all" else last_blocks(self.blocks(), which)
        self.requires_grad_(False)
        for module in self.trained:
            module.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode and any(module is self for module in self.trained))
        for module in self.trained:
            if module is not self:
                module.train(mode)
        self.training = mode
        return self


def last_blocks(blocks: list[nn.Module], which: str) -> list[nn.Module]:
    if which == "frozen":
        return []
    word, _, number = which.partition(":")
    if word != "last" or not number.isdigit() or not 0 < int(number) <= len(blocks):
        raise PixnetValueError(
            f'Trainable must be "frozen", "all" or "last:N" with N from 1 to {len(blocks)}; got {which!r}.'
        )
    return blocks[-int(number) :]
