"""Decoders: from the maps of all sources to one map at the output stride. Torch only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.network.safb import FusionBlock, Lateral
from pixnet_sd.nn.ops import FeatureSource, resample_map


class Decoder(nn.Module):
    """Base of all decoders: one map per source -> (B, width, H/stride, W/stride).

    All kinds take the same arguments: the `sources`, the strides of the pyramid's `levels`, the output `stride`, the
    `widths` of the levels (fine to coarse) and the number of `programs`.
    """

    samples_pixels: ClassVar[bool] = False
    """Whether training may sample pixels: the kind then has `decode_pixels` and `standardize`."""

    def __init__(
        self, sources: Sequence[FeatureSource], levels: Sequence[int], stride: int, widths: Sequence[int], programs: int
    ) -> None:
        super().__init__()
        self.sources, self.levels, self.stride = tuple(sources), tuple(levels), stride
        self.width = widths[0]
        self.dim = sum(source.channels for source in sources)

    def dense(self, maps: Sequence[Tensor]) -> Tensor:
        """Concatenate all sources at the output stride, (B, D, h, w)."""
        return torch.cat(
            [resample_map(m, s.stride, self.stride) for m, s in zip(maps, self.sources, strict=True)], dim=1
        )

    def decode_pixels(self, dense: Tensor) -> Tensor:
        """Decode any pixels (B, D, h, w) of `dense`, each on its own."""
        raise NotImplementedError

    def standardize(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Set the mean and standard deviation (D,) of the features over pixels, before training."""

    def set_dropout(self, hidden: float, features: float) -> None:
        """Set the shares of hidden units and of features that are dropped in training, where the kind has dropout."""


class SafbDecoder(Decoder):
    """The U-shaped decoder of PixNet: sources of a level are projected and summed, then fused with the level below."""

    def __init__(
        self, sources: Sequence[FeatureSource], levels: Sequence[int], stride: int, widths: Sequence[int], programs: int
    ) -> None:
        super().__init__(sources, levels, stride, widths, programs)
        if len(widths) < len(levels):
            raise PixnetValueError(f"A network's `widths` must be one per level {tuple(levels)}; got {tuple(widths)}.")
        self.lateral = nn.ModuleList(Lateral(source, widths[self.levels.index(source.level)]) for source in sources)
        below: list[int | None] = [*widths[1 : len(self.levels)], None]
        self.blocks = nn.ModuleList(FusionBlock(*pair) for pair in zip(widths, below, strict=False))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        *finer, (coarsest, first) = zip(self.levels, self.blocks, strict=True)
        decoded = first(self.skip(maps, coarsest))
        for level, block in reversed(finer):
            decoded = block(self.skip(maps, level), decoded)
        return decoded

    def skip(self, maps: Sequence[Tensor], level: int) -> Tensor:
        """Sum the projected sources of a level, which is the projection of their concatenation."""
        triples = zip(self.sources, self.lateral, maps, strict=True)
        projected = [lateral(own) for source, lateral, own in triples if source.level == level]
        return torch.stack(projected).sum(0)


class Readout(Decoder):
    """A dense linear readout: all sources at one stride, standardized, times one (D, K) projection.

    A linear readout of exactly pooled features is a ridge regression, and the same numbers are a dense map: pooling,
    standardizing and projecting commute.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, sources: Sequence[FeatureSource], levels: Sequence[int], stride: int, widths: Sequence[int], programs: int
    ) -> None:
        super().__init__(sources, levels, stride, widths, programs)
        self.width = programs
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("scale", torch.ones(self.dim))
        self.projection = nn.Parameter(torch.randn(self.dim, programs) / self.dim**0.5)
        self.feature_dropout = nn.Dropout2d(0.0)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Standardize and project, (B, K, h, w); each source is projected before it is upsampled."""
        if self.training and self.feature_dropout.p:
            return self.decode_pixels(self.dense(maps))
        weights = (self.projection / self.scale[:, None]).split([source.channels for source in self.sources])
        projected: dict[int, Tensor] = {}
        for own, source, weight in zip(maps, self.sources, weights, strict=True):
            stride = max(source.stride, self.stride)
            part = F.conv2d(resample_map(own, source.stride, stride), weight.T[:, :, None, None])
            projected[stride] = projected[stride].add_(part) if stride in projected else part
        offset = (self.mean / self.scale) @ self.projection
        # Added up in place: a stack of all of them would take three times as long.
        strides = sorted(projected, reverse=True)
        total = resample_map(projected[strides[0]], strides[0], self.stride) - offset[:, None, None]
        for stride in strides[1:]:
            total += resample_map(projected[stride], stride, self.stride)
        return total

    def decode_pixels(self, dense: Tensor) -> Tensor:
        standardized = self.feature_dropout((dense - self.mean[:, None, None]) / self.scale[:, None, None])
        return F.conv2d(standardized, self.projection.T[:, :, None, None])


class FeatureDecoder(Decoder):
    """All sources at the output stride, as they are. Nothing is trained."""

    def __init__(
        self, sources: Sequence[FeatureSource], levels: Sequence[int], stride: int, widths: Sequence[int], programs: int
    ) -> None:
        super().__init__(sources, levels, stride, widths, programs)
        self.width = self.dim

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.dense(maps)


class PixelDecoder(Decoder):
    """One hidden layer on each pixel: standardized features, projected; half of the projections stay linear.

    Without a kernel it overfits less on few spots. The linear half can represent a regression.
    """

    samples_pixels = True

    def __init__(
        self, sources: Sequence[FeatureSource], levels: Sequence[int], stride: int, widths: Sequence[int], programs: int
    ) -> None:
        super().__init__(sources, levels, stride, widths, programs)
        self.width = 2 * widths[0]
        self.readout = Readout(sources, levels, stride, widths, self.width)
        self.dropout = nn.Dropout2d(0.0)
        self.bias = nn.Parameter(torch.zeros(self.width, 1, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Decode one map per source to (B, 2 width, H/stride, W/stride)."""
        return self.activate(self.readout(maps))

    def decode_pixels(self, dense: Tensor) -> Tensor:
        return self.activate(self.readout.decode_pixels(dense))

    def activate(self, projected: Tensor) -> Tensor:
        linear, hidden = (projected + self.bias).chunk(2, dim=1)
        return torch.cat([linear, self.dropout(F.silu(hidden))], dim=1)

    @torch.no_grad()
    def standardize(self, mean: np.ndarray, scale: np.ndarray) -> None:
        self.readout.mean.copy_(torch.from_numpy(mean))
        self.readout.scale.copy_(torch.from_numpy(scale))

    def set_dropout(self, hidden: float, features: float) -> None:
        self.dropout.p, self.readout.feature_dropout.p = hidden, features


# By the value of `NetworkConfig.decoder`.
DECODERS: dict[str, type[Decoder]] = {
    "safb": SafbDecoder,
    "pixel": PixelDecoder,
    "readout": Readout,
    "features": FeatureDecoder,
}
