"""Everything a network sees at each pixel: encoder, colour, a second look, and means over large boxes. Torch only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lcm

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.context import box_contexts, box_sides, second_look
from pixnet_sd.nn.encoder_base import Encoder
from pixnet_sd.nn.pyramid import Source, pool, resample
from pixnet_sd.nn.stain import StainEncoder


class Features(nn.Module):
    """All that is seen at each pixel: the encoder, colour, a second look, box means. No parameters but the encoder's.

    `sources` describes the maps that `forward` gives; `levels` are the strides of the decoder's pyramid.
    """

    def __init__(
        self, encoder: Encoder, stride: int, *, stain: bool, look_twice: bool, context_px: Sequence[float]
    ) -> None:
        super().__init__()
        self.encoder, self.look_twice = encoder, look_twice
        coarsest = max(*encoder.levels, stride)
        self.levels = tuple(2**power for power in range(12) if stride <= 2**power <= coarsest)
        self.colour = StainEncoder(self.levels) if stain and not isinstance(encoder, StainEncoder) else None
        self.boxes = box_sides(context_px, coarsest)
        self.sources = self.describe()
        self.alignment = lcm(encoder.alignment * (2 if self.look_twice else 1), coarsest)
        self.check_levels()

    def describe(self) -> tuple[Source, ...]:
        """One entry per map, in the order of `forward`."""
        looks = [(self.encoder, 1)] + [(self.encoder, 2)] * self.look_twice
        looks += [(self.colour, 1)] if self.colour is not None else []
        sources = [
            self.source(channels, stride * zoom, self.nearest_level(level * zoom))
            for encoder, zoom in looks
            for channels, stride, level in zip(encoder.channels, encoder.strides, encoder.levels, strict=True)
        ]
        wide = [Source(self.deep_channels(sources), self.levels[-1], self.levels[-1])] * len(self.boxes)
        return (*sources, *wide)

    def source(self, channels: int, stride: int, level: int) -> Source:
        """What is finer than its level is pooled to it at once: nothing later sees it finer, and caches stay small."""
        return Source(channels, max(stride, level), level)

    def nearest_level(self, level: int) -> int:
        return min(max(level, self.levels[0]), self.levels[-1])

    def deep_channels(self, sources: Sequence[Source]) -> int:
        return sum(source.channels for source in sources if source.level == self.levels[-1])

    def forward(self, image: Tensor, encoder: Callable[[Tensor], list[Tensor]] | None = None) -> list[Tensor]:
        """(B, 3, H, W) RGB in [0, 1] -> one map per source. Another encoder of the same reach may stand in."""
        encoder = encoder or self.encoder
        maps = list(encoder(image))
        if self.look_twice:
            maps += second_look(encoder, image)
        if self.colour is not None:
            maps += self.colour(image)
        maps = [pool_to(m, source, image) for m, source in zip(maps, self.sources, strict=False)]
        return maps + self.surroundings(maps)

    def surroundings(self, maps: Sequence[Tensor]) -> list[Tensor]:
        deepest = self.levels[-1]
        pairs = zip(maps, self.sources, strict=False)
        deep = [resample(m, source.stride, deepest) for m, source in pairs if source.level == deepest]
        return box_contexts(torch.cat(deep, dim=1), self.boxes) if self.boxes else []

    def check_levels(self) -> None:
        bare = sorted(set(self.levels) - {source.level for source in self.sources})
        if bare:
            raise PixnetValueError(
                f"Nothing is known at the pyramid levels {bare}: the encoder has levels {self.encoder.levels}. "
                "Use `stain=True`, or an output stride that the encoder has."
            )


def pool_to(maps: Tensor, source: Source, image: Tensor) -> Tensor:
    """To the stride of its source, where it is finer."""
    return pool(maps, max(1, source.stride * maps.shape[-1] // image.shape[-1]))
