"""Feature maps of several strides: pooling, upsampling and box means that are independent of tile origins.

Every operation here is local and keeps its phase when a tile begins at a multiple of the coarsest stride, so that a
tile read with a margin gives the numbers of the whole image. Torch only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """One input map of a decoder."""

    channels: int
    stride: int
    """Input pixels per pixel of the map."""
    level: int
    """Stride of the pyramid level where it is used; a coarse ViT layer may feed a fine level."""


def pool_maps(maps: Tensor, factor: int) -> Tensor:
    """Average squares of `factor` pixels."""
    return F.avg_pool2d(maps, factor) if factor > 1 else maps


def upsample_maps(maps: Tensor, factor: int) -> Tensor:
    """Upsample bilinearly; pixel centers stay in place."""
    return F.interpolate(maps, scale_factor=float(factor), mode="bilinear") if factor > 1 else maps


def resample_map(maps: Tensor, stride: int, to: int) -> Tensor:
    """Resample from one power-of-two stride to another: means on the way down, bilinear on the way up."""
    return pool_maps(maps, to // stride) if to >= stride else upsample_maps(maps, stride // to)


def box_mean(maps: Tensor, side: int) -> Tensor:
    """Average the `side` x `side` box (odd) around each pixel.

    Two one-dimensional passes, not an integral image: a running sum would carry its rounding from tile to tile.
    """
    half = side // 2
    rows = F.avg_pool2d(maps, (1, side), stride=1, padding=(0, half), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(half, 0), count_include_pad=False)


def box_sides(context_px: Sequence[float], stride: int) -> tuple[int, ...]:
    """Convert box sizes (input pixels) to odd numbers of pixels at `stride`; below 3 they would add nothing."""
    sides = (2 * round((size_px / stride - 1) / 2) + 1 for size_px in context_px)
    return tuple(side for side in sides if side >= 3)


def encode_downsampled(encoder: Callable[[Tensor], list[Tensor]], image: Tensor, zoom: int) -> Tensor:
    """Encode the image at 1/zoom of its resolution; maps are concatenated at the coarsest one's stride."""
    maps = encoder(pool_maps(image, zoom))
    return torch.cat([pool_maps(m, m.shape[-1] // maps[-1].shape[-1]) for m in maps], dim=1)
