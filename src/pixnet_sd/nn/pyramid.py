"""Feature maps of several strides: pooling, upsampling and box means that do not care where a tile begins.

Every operation here is local and keeps its phase when a tile begins at a multiple of the coarsest stride, so that a
tile read with a margin gives the numbers of the whole image. Torch only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """One feature map that a decoder receives."""

    channels: int
    stride: int
    """Input pixels per pixel of the map as it is handed over."""
    level: int
    """Stride of the pyramid level where it is used; a coarse ViT layer may feed a fine level."""


def pool(maps: Tensor, factor: int) -> Tensor:
    """Mean over squares of `factor` pixels."""
    return F.avg_pool2d(maps, factor) if factor > 1 else maps


def upsample(maps: Tensor, factor: int) -> Tensor:
    """Bilinear; pixel centres stay where they are."""
    return F.interpolate(maps, scale_factor=float(factor), mode="bilinear") if factor > 1 else maps


def resample(maps: Tensor, stride: int, to: int) -> Tensor:
    """From one power-of-two stride to another: means on the way down, bilinear on the way up."""
    return pool(maps, to // stride) if to >= stride else upsample(maps, stride // to)


def box_mean(maps: Tensor, side: int) -> Tensor:
    """Mean over the `side` x `side` box (odd) around each pixel.

    Two one-dimensional passes, not an integral image: a running sum would carry its rounding from tile to tile.
    """
    half = side // 2
    rows = F.avg_pool2d(maps, (1, side), stride=1, padding=(0, half), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(half, 0), count_include_pad=False)
