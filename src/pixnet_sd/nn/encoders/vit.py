"""Vision transformers as pyramids, and encoders of fixed windows. Torch, timm.

The pyramid follows ViTDet (Li et al., "Exploring plain vision transformer backbones for object detection", 2022) in
that one plain resolution serves every level; here each level takes a layer of its own, early layers the fine levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch.nn.functional as F
from timm.layers import Mlp, SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.foundation import LEVELS, Foundation, token_stride, viewed_px
from pixnet_sd.nn.encoders.memo import WindowMemo


class Vit(Encoder):
    """Four evenly spaced layers of a foundation ViT, for the levels 4, 8, 16 and 32.

    It encodes one window; `Windowed` applies it to larger images. Maps stay at the resolution of the tokens, and the
    decoder projects them before it upsamples, which is the same and far cheaper.
    """

    def __init__(
        self, row: Foundation, *, depth: int | None = None, dim: int | None = None, window_px: int | None = None
    ) -> None:
        depth, dim, count = depth or row.depth, dim or row.dim, len(LEVELS)
        window_px = window_px or row.window_px
        super().__init__(
            [dim] * count,
            [token_stride(row)] * count,
            levels=LEVELS,
            alignment=window_px,
            mean=row.mean,
            std=row.std,
        )
        self.viewed_px = viewed_px(row, window_px)
        self.model: Any = create_vit(row, depth=depth, dim=dim, window_px=self.viewed_px)
        self.layers = [depth * (index + 1) // count - 1 for index in range(count)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode (B, 3, window, window) RGB in [0, 1] as four maps (B, dim, window/stride, window/stride)."""
        side = image.shape[-1] // self.strides[0]
        if image.shape[-1] != self.viewed_px:
            image = F.interpolate(image, size=(self.viewed_px,) * 2, mode="bilinear", antialias=True)
        tokens = self.model.forward_intermediates(
            self.normalize(image), indices=self.layers, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return [F.interpolate(maps, size=(side, side), mode="bilinear") for maps in tokens]

    def blocks(self) -> list[nn.Module]:
        return list(self.model.blocks)


def create_vit(row: Foundation, *, depth: int, dim: int, window_px: int) -> VisionTransformer:
    """Create a row's ViT with random weights; another depth, width or window keeps every other trait."""
    hidden = 8 * round(row.hidden * dim / row.dim / 8)
    return VisionTransformer(
        img_size=window_px,
        patch_size=row.patch_px,
        embed_dim=dim,
        depth=depth,
        num_heads=max(1, row.heads * dim // row.dim),
        mlp_ratio=(hidden + 0.5) / dim,  # timm truncates dim * mlp_ratio
        mlp_layer=cast("type[nn.Module]", SwiGLUPacked) if row.swiglu else Mlp,
        act_layer=nn.SiLU if row.swiglu else nn.GELU,
        init_values=row.init_values,
        reg_tokens=row.registers,
        no_embed_class=row.no_embed_class,
        num_classes=0,
    )


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
        self.memo: WindowMemo | None = None

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W), sides multiples of the window, window by window, and join the maps."""
        rows, columns = (side // self.alignment for side in image.shape[-2:])
        windows = cut_windows(image, rows, columns)
        found = self.encoder(windows) if self.memo is None else self.memo.encode(self.encoder, windows)
        return [join_windows(maps, rows, columns) for maps in found]

    def blocks(self) -> list[nn.Module]:
        return self.encoder.blocks()

    def set_trainable(self, which: str) -> None:
        self.published &= which == "frozen"
        self.encoder.set_trainable(which)

    def train(self, mode: bool = True) -> Windowed:
        nn.Module.train(self, mode)
        return self

    def margin_probe(self) -> nn.Module:
        return WindowMeans(self.channels, self.strides, self.alignment)


@contextmanager
def remembered_windows(encoder: Encoder) -> Iterator[None]:
    """Encode no window twice while the block runs; only for encoders whose weights do not change meanwhile."""
    if not isinstance(encoder, Windowed):
        yield
        return
    encoder.memo = WindowMemo()
    try:
        yield
    finally:
        encoder.memo = None


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
