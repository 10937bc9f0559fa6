"""PixNet: features, decoder, head. Torch only.

image (B, 3, H, W) -> sources (list of maps) -> decoder features -> programs (B, K, H/stride, W/stride)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.device import one_thread_after_fork
from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.build import build_encoder
from pixnet_sd.nn.encoders.fetch import PRETRAINED
from pixnet_sd.nn.network.config import NetworkConfig, check_value
from pixnet_sd.nn.network.decoder import DECODERS, Decoder
from pixnet_sd.nn.network.features import Features
from pixnet_sd.nn.network.heads import HEADS, Head
from pixnet_sd.nn.network.margin import measure_margin
from pixnet_sd.nn.network.ridge import RidgeFit


class ReceptiveField(NamedTuple):
    """Margin and rim of a network, in input pixels; see `PixNet`."""

    margin: int
    rim: int


class PixNet(nn.Module):
    """A dense map of programs from an image; `pooled @ loadings + intercept` are genes.

    Attributes
    ----------
    stride
        Input pixels per output pixel.
    alignment
        Origins and sides of tiles must be multiples of this many input pixels.
    margin
        Input pixels around a tile beyond which nothing matters, a multiple of `alignment`.
    rim
        The outer part of the margin, for which `forward` returns no output: only the downsampled context reads it.
    """

    def __init__(
        self,
        config: NetworkConfig,
        genes: int,
        *,
        encoder_weights: str | Path | None = PRETRAINED,
        reach: ReceptiveField | None = None,
    ) -> None:
        super().__init__()
        one_thread_after_fork()
        self.config, self.stride = config, config.stride
        self.features = Features(
            build_encoder(
                config.encoder,
                weights=encoder_weights,
                levels=config.levels,
                window_px=config.window_px,
                depth=config.encoder_depth,
                dim=config.encoder_dim,
            ),
            config.stride,
            stain=config.stain,
            overview=config.overview,
            fine=config.fine,
            context_px=[size_um / config.mpp for size_um in config.context_um],
        )
        self.decoder: Decoder = DECODERS[config.decoder](
            self.features.sources, self.features.levels, config.stride, config.widths, config.programs
        )
        self.head: Head = HEADS[config.head](self.decoder.width, config.programs, genes)
        self.alignment = self.features.alignment
        self.margin, self.features.rim = reach or self.measure()
        for name in ReceptiveField._fields:
            side = getattr(self, name)
            check_value(side % self.alignment == 0, name, side, f"a multiple of its alignment {self.alignment}")
        check_value(0 <= self.rim <= self.margin, "rim", self.rim, f"within its margin {self.margin}")

    @property
    def rim(self) -> int:
        return self.features.rim

    @property
    def reach(self) -> ReceptiveField:
        return ReceptiveField(self.margin, self.rim)

    @property
    def encoder(self) -> Encoder:
        return self.features.encoder

    @property
    def unit(self) -> str:
        """Unit of pooled genes: "counts/um2" or "log1p"."""
        return self.head.unit

    @property
    def loadings(self) -> Tensor:
        """(K, G)."""
        return self.head.loadings

    @property
    def intercept(self) -> Tensor:
        """(G,)."""
        return self.head.intercept

    def forward(self, image: Tensor) -> Tensor:
        """Compute programs (B, K, h/stride, w/stride) from (B, 3, H, W) RGB in [0, 1].

        H and W must be multiples of `alignment`; h and w are what remains of them without the rim.
        """
        if any(side % self.alignment for side in image.shape[-2:]) or image.shape[1] != 3:
            raise PixnetValueError(
                f"A tile must be (B, 3, H, W) with sides that are multiples of {self.alignment}; got "
                f"{tuple(image.shape)}. Pad it with white."
            )
        return self.decode(self.features(image))

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Compute programs from the maps of `features`, which may come from a cache."""
        return self.head(self.decoder(maps))

    def measure(self) -> ReceptiveField:
        """Measure the margin, and the rim as what only the downsampled context adds to it."""
        encoder = self.encoder.margin_probe()

        def farthest(around: Callable[[Tensor], Tensor]) -> int:
            def forward(image: Tensor) -> Tensor:
                return self.decode(self.features.compute(image, around(image), encoder))

            return measure_margin(self, forward, self.alignment, self.stride)

        margin = farthest(lambda image: image)
        return ReceptiveField(margin, margin - farthest(torch.ones_like) if self.config.overview else 0)

    def load_ridge(self, fit: RidgeFit) -> None:
        """Become the fitted ridge: needs the "readout" decoder and the "log" head, with K the fit's rank."""
        if (self.config.decoder, self.config.head) != ("readout", "log"):
            raise PixnetValueError('A ridge fits a network with decoder="readout" and head="log" only.')
        for part, names in ((self.decoder, ("mean", "scale", "projection")), (self.head, ("loadings", "intercept"))):
            part.load_state_dict({name: torch.from_numpy(getattr(fit, name)) for name in names})
