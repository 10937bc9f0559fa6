"""PixNet: everything seen at each pixel, a decoder, a head. Torch only.

image (B, 3, H, W) -> sources (list of maps) -> decoder features -> programs (B, K, H/stride, W/stride)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.device import one_thread_after_fork
from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.build import build_encoder
from pixnet_sd.nn.encoders.weights import PRETRAINED
from pixnet_sd.nn.network.decoder import Decoder
from pixnet_sd.nn.network.features import Features
from pixnet_sd.nn.network.heads import LogHead, RateHead
from pixnet_sd.nn.network.margin import FARTHEST_PX, measure_margin
from pixnet_sd.nn.network.pixelwise import PixelDecoder, Readout, RidgeFit
from pixnet_sd.nn.network.values import all_of, is_number, is_text, is_whole

STRIDES = (1, 2, 4, 8)
OVERVIEWS = (0, 2, 4, 8)
DECODERS = ("safb", "pixel", "readout")
HEADS = ("rate", "log")

WIDEST, DEEPEST, LEVELS = 8192, 128, 16
"""More channels, blocks or levels cannot be meant; a file that asks for them is refused before they are allocated."""
MPP = (0.05, 20.0)
"""As for images: what is finer or coarser was meant in another unit."""
DEPTHS = f"None or a whole number from 4 to {DEEPEST}"


def is_width(value: Any) -> bool:
    return is_whole(value, 1, WIDEST)


def is_level(value: Any) -> bool:
    return is_whole(value, 0, LEVELS - 1)


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a network. It is stored with the weights, so a network can be built again."""

    encoder: str = "tf_efficientnet_lite0"
    """"stain", a foundation model by name, or any timm CNN."""
    levels: tuple[int, ...] | None = (0, 1, 2, 3)
    """Which of a CNN's pyramid levels to use, counted from its finest; None for all."""
    window_px: int | None = None
    """Fixed windows for an encoder with a global operation."""
    encoder_depth: int | None = None
    """Another depth of a foundation model; None as published."""
    encoder_dim: int | None = None
    """Another width of a foundation model; None as published."""
    mpp: float = 0.5
    """Micrometres per input pixel."""
    stride: int = 4
    """Input pixels per output pixel: 1, 2, 4 or 8."""
    stain: bool = True
    """Colour statistics beside the encoder, at every level."""
    context_um: tuple[float, ...] = (150.0,)
    """Sides of the boxes whose means join the coarsest level."""
    overview: int = 0
    """0: the boxes' means are of what the encoder sees at full resolution. 2, 4 or 8: at so much less, which lets boxes
    be large at little cost."""
    decoder: str = "safb"
    """"safb", the paper's decoder; "pixel", one hidden layer on each pixel; or "readout", one linear projection."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    """Channels of the decoder's levels, fine to coarse; levels that do not exist take none."""
    programs: int = 16
    """Channels of the map, K."""
    head: str = "rate"
    """"rate": counts per um2, non-negative. "log": log expression, with K the decoder's width."""

    def __post_init__(self) -> None:
        """Kinds and bounds of every value: a file may hold anything."""
        check_value(is_number(self.mpp, *MPP), "mpp", self.mpp, f"positive: a number from {MPP[0]} to {MPP[1]}")
        counts, sides_px = f"whole numbers from 1 to {WIDEST}", f"None or a whole number from 1 to {FARTHEST_PX}"
        rules = {
            "encoder": (is_text(self.encoder), "a name"),
            "levels": (self.levels is None or all_of(self.levels, is_level), f"None or numbers below {LEVELS}"),
            "window_px": (self.window_px is None or is_whole(self.window_px, 1, FARTHEST_PX), sides_px),
            "encoder_depth": (self.encoder_depth is None or is_whole(self.encoder_depth, 4, DEEPEST), DEPTHS),
            "encoder_dim": (self.encoder_dim is None or is_whole(self.encoder_dim, 1, WIDEST), f"None or {counts}"),
            "stride": (is_whole(self.stride, 1) and self.stride in STRIDES, f"one of {STRIDES}"),
            "stain": (isinstance(self.stain, bool), "True or False"),
            "context_um": (all_of(self.context_um, self.is_context), f"sizes of at most {2 * FARTHEST_PX} pixels"),
            "overview": (is_whole(self.overview, 0) and self.overview in OVERVIEWS, f"one of {OVERVIEWS}"),
            "decoder": (self.decoder in DECODERS, f"one of {DECODERS}"),
            "widths": (all_of(self.widths, is_width) and len(self.widths) > 0, counts),
            "programs": (is_width(self.programs), counts),
            "head": (self.head in HEADS, f"one of {HEADS}"),
        }
        for name, (right, allowed) in rules.items():
            check_value(right, name, getattr(self, name), allowed)

    def is_context(self, size_um: Any) -> bool:
        return is_number(size_um, 0, 2 * FARTHEST_PX * self.mpp)

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NetworkConfig:
        fields = set(cls.__dataclass_fields__)
        if set(values) != fields:
            raise PixnetValueError(
                f"A network's configuration has unknown keys {sorted(set(values) - fields)} and lacks "
                f"{sorted(fields - set(values))}; it was written by another version or edited by hand."
            )
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**arguments)


def check_value(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise PixnetValueError(f"A network's `{name}` must be {allowed}; got {value!r}.")


class ReceptiveField(NamedTuple):
    """What a network sees around a tile, in input pixels; see `PixNet`."""

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
        The outer part of the margin for which `forward` gives nothing, since the network sees it from afar only.
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
            build_config_encoder(config, encoder_weights),
            config.stride,
            stain=config.stain,
            overview=config.overview,
            context_px=[size_um / config.mpp for size_um in config.context_um],
        )
        self.decoder = build_decoder(config, self.features)
        self.head = build_head(config, self.decoder.width, genes)
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
        """What pooled genes are in: "counts/um2" or "log1p"."""
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
        """(B, 3, H, W) RGB in [0, 1], sides multiples of `alignment` -> programs (B, K, h/stride, w/stride).

        h and w are what the rim leaves of the image.
        """
        if any(side % self.alignment for side in image.shape[-2:]) or image.shape[1] != 3:
            raise PixnetValueError(
                f"A tile must be (B, 3, H, W) with sides that are multiples of {self.alignment}; got "
                f"{tuple(image.shape)}. Pad it with white."
            )
        return self.decode(self.features(image))

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Maps of `features`, which may come from a cache, to programs."""
        return self.head(self.decoder(maps))

    def measure(self) -> ReceptiveField:
        """How far it sees, and how much of that from afar only."""
        encoder = self.encoder.stand_in()

        def farthest(around: Callable[[Tensor], Tensor]) -> int:
            def seen(image: Tensor) -> Tensor:
                return self.decode(self.features.see(image, around(image), encoder))

            return measure_margin(self, seen, self.alignment, self.stride)

        margin = farthest(lambda image: image)
        return ReceptiveField(margin, margin - farthest(torch.ones_like) if self.config.overview else 0)

    @torch.no_grad()
    def start_at_ridge(self, fit: RidgeFit) -> None:
        """Become the fitted ridge: needs the "readout" decoder and the "log" head, with K the fit's rank."""
        if not isinstance(self.decoder, Readout) or not isinstance(self.head, LogHead):
            raise PixnetValueError('A ridge fits a network with decoder="readout" and head="log" only.')
        self.decoder.start_at(fit)
        self.head.loadings.copy_(torch.from_numpy(fit.loadings))
        self.head.intercept.copy_(torch.from_numpy(fit.intercept))


def build_config_encoder(config: NetworkConfig, weights: str | Path | None) -> Encoder:
    return build_encoder(
        config.encoder,
        weights=weights,
        levels=config.levels,
        window_px=config.window_px,
        depth=config.encoder_depth,
        dim=config.encoder_dim,
    )


def build_decoder(config: NetworkConfig, features: Features) -> Decoder | PixelDecoder | Readout:
    if config.decoder == "readout":
        return Readout(features.sources, config.stride, config.programs)
    if config.decoder == "pixel":
        return PixelDecoder(features.sources, config.stride, config.widths[0])
    check_value(len(config.widths) >= len(features.levels), "widths", config.widths, f"one per level {features.levels}")
    return Decoder(features.sources, features.levels, config.widths)


def build_head(config: NetworkConfig, width: int, genes: int) -> RateHead | LogHead:
    return RateHead(width, config.programs, genes) if config.head == "rate" else LogHead(width, genes)
