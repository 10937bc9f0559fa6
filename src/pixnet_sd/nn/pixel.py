"""A decoder that looks at each pixel's features alone; its surroundings are among them, as context. Torch only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixnet_sd.nn.pyramid import Source
from pixnet_sd.nn.readout import Readout


class PixelDecoder(nn.Module):
    """Standardised features, projected: half of the projections pass as they are, half bend.

    It has no kernel, so with few spots there is little that it could learn by heart, and what passes as it is can start
    at a regression.
    """

    def __init__(self, sources: Sequence[Source], stride: int, width: int) -> None:
        super().__init__()
        self.width = 2 * width
        self.readout = Readout(sources, stride, self.width)
        self.dropout = nn.Dropout2d(0.0)  # set by whoever trains
        self.bias = nn.Parameter(torch.zeros(self.width, 1, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """One map per source -> (B, 2 width, H/stride, W/stride)."""
        return self.bend(self.readout(maps))

    def at(self, dense: Tensor) -> Tensor:
        """The same from all features of any pixels (B, D, h, w)."""
        return self.bend(self.readout.at(dense))

    def bend(self, projected: Tensor) -> Tensor:
        straight, bent = (projected + self.bias).chunk(2, dim=1)
        return torch.cat([straight, self.dropout(F.silu(bent))], dim=1)

    @torch.no_grad()
    def standardise(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Take over the mean and standard deviation of every feature over pixels."""
        self.readout.mean.copy_(torch.from_numpy(mean))
        self.readout.scale.copy_(torch.from_numpy(scale))
