"""Vision transformers as pyramids, and encoders of fixed windows. Torch, timm.

The pyramid follows ViTDet (Li et al., "Exploring plain vision transformer backbones for object detection", 2022) in
that one plain resolution serves every level; here each level takes a layer of its own, early layers the fine levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.foundation import Foundation

# Stride of the returned maps whatever the patch size: a power of two keeps every later step exact.
TOKEN_STRIDE = 16

LEVELS = (4, 8, 16, 32)


class Vit(Encoder):
    """Four evenly spaced layers of a foundation ViT, for the levels 4, 8, 16 and 32.

    It encodes one window of its native size; `Windowed` applies it to larger images. Maps stay at the resolution of
    the tokens, and the decoder projects them before it upsamples, which is the same and far cheaper.
    """

    def __init__(self, row: Foundation, *, depth: int | None = None, dim: int | None = None) -> None:
        depth, dim = depth or row.depth, dim or row.dim
        count = len(LEVELS)
        super().__init__(
            [dim] * count,
            [TOKEN_STRIDE] * count,
            levels=LEVELS,
            alignment=row.window_px,
            mean=row.mean,
            std=row.std,
        )
        self.model: Any = row.create(depth=depth, dim=dim)
        self.layers = [depth * (index + 1) // count - 1 for index in range(count)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode (B, 3, window, window) RGB in [0, 1] as four (B, dim, window/16, window/16) maps."""
        side = image.shape[-1] // TOKEN_STRIDE
        tokens = self.model.forward_intermediates(
            self.normalize(image), indices=self.layers, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return [F.interpolate(maps, size=(side, side), mode="bilinear") for maps in tokens]

    def blocks(self) -> list[nn.Module]:
        return list(self.model.blocks)


class Windowed(Encoder):
    """An encoder applied to fixed windows, anchored at the image's corner.

    A global operation (attention, squeeze-and-excitation) ends at its window, so the result does not depend on how an
    image is cut into aligned tiles. The price is a seam between windows, which decoder and context reach across.
    """

    def __init__(self, encoder: Encoder, window_px: int) -> None:
        if window_px % max(*encoder.strides, *encoder.levels):
            coarsest = max(*encoder.strides, *encoder.levels)
            raise PixnetValueError(
                f"`window_px` must be a multiple of {coarsest}, the coarsest stride; got {window_px}."
            )
        super().__init__(encoder.channels, encoder.strides, levels=encoder.levels, alignment=window_px)
        self.encoder, self.window_px = encoder, window_px

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W), sides multiples of the window, window by window, and join the maps."""
        rows, columns = (side // self.alignment for side in image.shape[-2:])
        return [join_windows(maps, rows, columns) for maps in self.encoder(cut_windows(image, rows, columns))]

    def blocks(self) -> list[nn.Module]:
        return self.encoder.blocks()

    def set_trainable(self, which: str) -> None:
        self.encoder.set_trainable(which)

    def train(self, mode: bool = True) -> Windowed:
        nn.Module.train(self, mode)
        return self

    def margin_probe(self) -> nn.Module:
        return WindowMeans(self.channels, self.strides, self.alignment)


class WindowMeans(nn.Module):
    """Every output of a window depends on every pixel of it, and on nothing else."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], window_px: int) -> None:
        super().__init__()
        self.channels, self.strides, self.window_px = channels, strides, window_px

    def forward(self, image: Tensor) -> list[Tensor]:
        means = F.avg_pool2d(image.mean(1, keepdim=True), self.window_px)
        return [
            F.interpolate(means, scale_factor=self.window_px / stride).expand(-1, channels, -1, -1)
            for channels, stride in zip(self.channels, self.strides, strict=True)
        ]


def cut_windows(image: Tensor, rows: int, columns: int) -> Tensor:
    """Reshape (B, C, H, W) into (B * rows * columns, C, H / rows, W / columns), row by row."""
    batch, channels, height, width = image.shape
    windows = image.reshape(batch, channels, rows, height // rows, columns, width // columns)
    return windows.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def join_windows(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Invert `cut_windows`."""
    windows = maps.unflatten(0, (-1, rows, columns)).permute(0, 3, 1, 4, 2, 5)
    return windows.flatten(4, 5).flatten(2, 3)
