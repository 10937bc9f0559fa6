"""The shape of a network, as values, and the checks of plain values that files may hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.foundation import FOUNDATION, canonical_name, find_foundation, token_stride, viewed_px
from pixnet_sd.nn.network.decoder import DECODERS
from pixnet_sd.nn.network.heads import HEADS
from pixnet_sd.nn.network.margin import FARTHEST_PX

STRIDES = (1, 2, 4, 8)
OVERVIEWS = (0, 2, 4, 8)

# Largest numbers of channels, blocks and levels: a file that asks for more is refused before they are allocated.
WIDEST, DEEPEST, LEVELS = 8192, 128, 16
# As for images: what is finer or coarser was meant in another unit.
MPP = (0.05, 20.0)
DEPTHS = f"None or a whole number from 4 to {DEEPEST}"


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a network. It is stored with the weights, so a network can be built again."""

    encoder: str = "tf_efficientnet_lite0"
    """"stain", a foundation model by a name of `encoders()` or another tool's, or any timm CNN."""
    levels: tuple[int, ...] | None = (2, 3)
    """Which of a CNN's pyramid levels to use, counted from its finest; None for all."""
    window_px: int | None = None
    """Side of the fixed windows of an encoder with a global operation; None as published, for a foundation model."""
    encoder_depth: int | None = None
    """Another depth of a foundation model; None as published."""
    encoder_dim: int | None = None
    """Another width of a foundation model; None as published."""
    mpp: float = 1.4
    """Micrometres per input pixel."""
    stride: int = 2
    """Input pixels per output pixel: 1, 2, 4 or 8."""
    stain: bool = True
    """Add stain statistics to the encoder's features, at every level, and histograms of stain to the boxes."""
    context_um: tuple[float, ...] = (50.0, 150.0)
    """Sides of the boxes whose mean features join the coarsest level: single pixels carry over to other slides less."""
    fine: bool = False
    """Let the decoder see the encoder's maps too, not only their means over the boxes: more detail in a section like
    those of the training, less accuracy on others. Without boxes they are seen anyway."""
    overview: int = 0
    """Downsampling of the image for the boxes' means: 0 for full resolution, or 2, 4 or 8, which makes large boxes
    cheap."""
    decoder: str = "pixel"
    """"pixel", one hidden layer on each pixel; "safb", the paper's decoder; or "readout", one linear projection."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    """Channels of the decoder's levels, fine to coarse; surplus entries are ignored."""
    programs: int = 16
    """Channels of the map, K."""
    head: str = "rate"
    """"rate": counts per um2, non-negative; "fixed": the same by a table of loadings that was fitted afterwards.
    "log": log expression, with K the decoder's width."""

    def __post_init__(self) -> None:
        """Check kinds and bounds of every value: a file may hold anything."""
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
            "fine": (isinstance(self.fine, bool), "True or False"),
            "context_um": (all_of(self.context_um, self.is_context), f"sizes of at most {2 * FARTHEST_PX} pixels"),
            "overview": (is_whole(self.overview, 0) and self.overview in OVERVIEWS, f"one of {OVERVIEWS}"),
            # Tuples, since values of a file may not be hashable.
            "decoder": (self.decoder in tuple(DECODERS), f"one of {tuple(DECODERS)}"),
            "widths": (all_of(self.widths, is_width) and len(self.widths) > 0, counts),
            "programs": (is_width(self.programs), counts),
            "head": (self.head in tuple(HEADS), f"one of {tuple(HEADS)}"),
        }
        for name, (right, allowed) in rules.items():
            check_value(right, name, getattr(self, name), allowed)
        object.__setattr__(self, "encoder", canonical_name(self.encoder))
        if self.window_px is not None and self.encoder in FOUNDATION:
            viewed_px(FOUNDATION[self.encoder], self.window_px)

    @classmethod
    def foundation(
        cls, name: str, *, mpp: float | None = None, context_um: tuple[float, ...] = (150.0,), programs: int = 16
    ) -> NetworkConfig:
        """Configure a network on a frozen foundation model, as it serves a dense map best.

        One hidden layer on each pixel of all its features, stain statistics beside them, and the model's own µm per
        pixel. Tokens of 14 px are fed windows of 256 px, scaled to 224: then each is exactly 16 px wide.

        Parameters
        ----------
        name
            A name from `encoders()`, such as ``"hibou-b"``.
        mpp
            Micrometres per pixel of the images; by default what the model was trained at.
        context_um
            Sides of the boxes whose mean features join those of each pixel.
        programs
            Channels of the map.
        """
        row = find_foundation(name)
        exact = row.window_px // row.patch_px * token_stride(row)
        return cls(
            encoder=row.name,
            levels=None,
            window_px=None if exact == row.window_px else exact,
            mpp=row.mpp if mpp is None else mpp,
            stride=4,
            context_um=context_um,
            fine=True,
            decoder="pixel",
            widths=(64,),
            programs=programs,
        )

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


def is_a(value: Any, kind: type) -> bool:
    """Return whether a value is of a kind; truth values count as numbers in Python, and never here."""
    return isinstance(value, kind) and not isinstance(value, bool)


def is_whole(value: Any, low: int, high: float = math.inf) -> bool:
    return is_a(value, Integral) and low <= value <= high


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Return whether a value is a number within the bounds, which may be infinite; NaN never is."""
    return is_a(value, Real) and low <= value <= high


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_width(value: Any) -> bool:
    return is_whole(value, 1, WIDEST)


def is_level(value: Any) -> bool:
    return is_whole(value, 0, LEVELS - 1)


def all_of(values: Any, test: Callable[[Any], bool]) -> bool:
    """Return whether `values` is a list or a tuple in which every value passes."""
    return isinstance(values, list | tuple) and all(map(test, values))
