"""Multi-scale input features: encoder, stain, and means over large boxes (context). Torch only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lcm

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.stain import StainEncoder, StainHistogram
from pixnet_sd.nn.ops import FeatureSource, box_mean, box_sides, encode_downsampled, pool_maps, resample_map


class Features(nn.Module):
    """Features of each pixel: the encoder's, stain statistics, box means. No parameters but the encoder's.

    `sources` describes the maps that `forward` returns; `levels` are the strides of the decoder's pyramid. With an
    `overview`, box means are of the encoder's maps at 1/overview of the resolution, which is cheap, so the outer `rim`
    of an image is read in this way only.
    """

    rim: int
    """Input pixels on each side of an image for which no maps are returned; a multiple of `alignment`."""

    def __init__(
        self, encoder: Encoder, stride: int, *, stain: bool, overview: int, fine: bool, context_px: Sequence[float]
    ) -> None:
        super().__init__()
        self.encoder, self.overview, self.rim = encoder, overview, 0
        coarsest = max(*encoder.levels, stride)
        self.levels = tuple(2**power for power in range(12) if stride <= 2**power <= coarsest)
        # The name is part of the names of stored tensors.
        self.color = StainEncoder(self.levels) if stain and not encoder.has_stain else None
        self.histogram = StainHistogram() if stain else None
        self.wide_stride = max(encoder.strides) * overview or coarsest
        self.boxes = box_sides(context_px, self.wide_stride)
        self.encoded = self.describe_maps(encoder)
        self.seen = not self.boxes or fine or encoder.has_stain
        self.sources = self.describe()
        self.alignment = lcm(encoder.alignment * max(overview, 1), coarsest, self.wide_stride)
        self.check_levels()

    def describe(self) -> tuple[FeatureSource, ...]:
        """List one source per map, in the order of `forward`."""
        color = () if self.color is None else self.describe_maps(self.color)
        channels = sum(self.encoder.channels) + (self.histogram.channels if self.histogram is not None else 0)
        boxes = [FeatureSource(channels, self.wide_stride, self.levels[-1])] * len(self.boxes)
        return (*(self.encoded if self.seen else ()), *color, *boxes)

    def describe_maps(self, encoder: Encoder) -> tuple[FeatureSource, ...]:
        """List one source per map of an encoder."""
        maps = zip(encoder.channels, encoder.strides, encoder.levels, strict=True)
        return tuple(self.source(channels, stride, self.nearest_level(level)) for channels, stride, level in maps)

    def source(self, channels: int, stride: int, level: int) -> FeatureSource:
        """Describe a map; one finer than its level is pooled to it at once, so that caches stay small."""
        return FeatureSource(channels, max(stride, level), level)

    def nearest_level(self, level: int) -> int:
        return min(max(level, self.levels[0]), self.levels[-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute one map per source from (B, 3, H, W) RGB in [0, 1], of the image without its rim."""
        return self.compute(crop_rim(image, self.rim), image, self.encoder)

    def compute(self, image: Tensor, around: Tensor, encoder: Callable[[Tensor], list[Tensor]]) -> list[Tensor]:
        """Compute maps of an image with an encoder; `around` is the image with its rim."""
        encoded = pool_to_sources(encoder(image), self.encoded, image)
        color = [] if self.color is None else self.color(image)
        first = len(self.encoded) if self.seen else 0
        maps = (encoded if self.seen else []) + pool_to_sources(color, self.sources[first:], image)
        if not self.boxes:
            return maps
        wide = encode_downsampled(encoder, around, self.overview) if self.overview else self.join(encoded)
        if self.histogram is not None:
            wide = torch.cat([wide, self.histogram(around, self.wide_stride)], dim=1)
        rim = (around.shape[-1] - image.shape[-1]) // 2 // self.wide_stride
        return maps + [crop_rim(box_mean(wide, side), rim) for side in self.boxes]

    def join(self, encoded: Sequence[Tensor]) -> Tensor:
        """Concatenate all maps of the encoder at the boxes' stride."""
        pairs = zip(encoded, self.encoded, strict=True)
        return torch.cat([resample_map(m, source.stride, self.wide_stride) for m, source in pairs], dim=1)

    def check_levels(self) -> None:
        bare = sorted(set(self.levels) - {source.level for source in self.sources})
        if bare:
            raise PixnetValueError(
                f"No features at the pyramid levels {bare}: the encoder has levels {self.encoder.levels}. "
                "Use `stain=True`, or an output stride that the encoder has."
            )


def crop_rim(maps: Tensor, rim: int) -> Tensor:
    """Remove `rim` pixels on each side."""
    return maps[..., rim : maps.shape[-2] - rim, rim : maps.shape[-1] - rim]


def pool_to_sources(maps: Sequence[Tensor], sources: Sequence[FeatureSource], image: Tensor) -> list[Tensor]:
    """Pool maps to the strides of their sources, where they are finer."""
    side, pairs = image.shape[-1], zip(maps, sources, strict=False)
    return [pool_maps(one, max(1, source.stride * one.shape[-1] // side)) for one, source in pairs]
