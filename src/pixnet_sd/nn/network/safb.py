"""Blocks of the paper's decoder: separable attention fusion blocks (SAFB). Torch only.

After "From Spots to Pixels" (arXiv 2503.01347), figure 2. The attention is the element-wise form of the figure's
legend, with the softmax over channels: its cost is linear and its receptive field finite, so tiles are exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixnet_sd.nn.ops import FeatureSource, pool_maps, upsample_maps


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of each pixel."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)


class SeparableConv(nn.Module):
    """F' = LN(conv1x1(SiLU(DWC(F)))), then BN(SiLU(DWC(F) + F')), with one 3 x 3 depthwise convolution DWC."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.layer_norm = ChannelNorm(width)
        self.batch_norm = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        local = self.depthwise(maps)
        mixed = self.layer_norm(self.pointwise(F.silu(local)))
        return self.batch_norm(F.silu(local + mixed))


class FusionBlock(nn.Module):
    """SAFB: the skip joins the upsampled level below; D = U + softmax(Q * K over channels) * V."""

    def __init__(self, width: int, width_below: int | None = None) -> None:
        super().__init__()
        self.refine = SeparableConv(width)
        self.narrow = nn.Conv2d(width_below, width, 1) if width_below else None
        self.to_qkv = nn.Conv2d(2 * width if width_below else width, 3 * width, 1)

    def forward(self, skip: Tensor, below: Tensor | None = None) -> Tensor:
        """Fuse (B, width, h, w) with the level below (B, width_below, h/2, w/2) into (B, width, h, w).

        The coarsest block has nothing below; its own refined skip stands in for U.
        """
        refined = self.refine(skip)
        if self.narrow is None or below is None:
            return channel_attention(refined, self.to_qkv(refined))
        under = upsample_maps(self.narrow(below), 2)
        return channel_attention(under, self.to_qkv(torch.cat([refined, under], dim=1)))


def channel_attention(base: Tensor, qkv: Tensor) -> Tensor:
    query, key, value = qkv.chunk(3, dim=1)
    return base + torch.softmax(query * key, dim=1) * value


class Lateral(nn.Module):
    """One source, standardized and brought to the width and stride of its level.

    The projection is pointwise and linear, so it commutes with upsampling: it runs at whichever stride is coarser.
    """

    def __init__(self, source: FeatureSource, width: int) -> None:
        super().__init__()
        self.source = source
        self.standardise = nn.BatchNorm2d(source.channels, affine=False)
        self.project = nn.Conv2d(source.channels, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        finer, coarser = self.source.level // self.source.stride, self.source.stride // self.source.level
        return upsample_maps(self.project(self.standardise(pool_maps(maps, finer))), coarser)
