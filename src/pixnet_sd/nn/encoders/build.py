"""Encoders by name: "stain", a pathology foundation model, or any timm CNN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.cnn import Cnn
from pixnet_sd.nn.encoders.foundation import FOUNDATION
from pixnet_sd.nn.encoders.stain import StainEncoder
from pixnet_sd.nn.encoders.vit import Vit, Windowed
from pixnet_sd.nn.encoders.weights import PRETRAINED, fill_encoder, locate_weights

if TYPE_CHECKING:
    import pandas as pd


def build_encoder(
    name: str,
    *,
    weights: str | Path | None = PRETRAINED,
    levels: Sequence[int] | None = None,
    window_px: int | None = None,
    depth: int | None = None,
    dim: int | None = None,
) -> Encoder:
    """Build the encoder called `name`, frozen until `set_trainable`.

    Parameters
    ----------
    name
        "stain", a name from `encoders()`, or a timm CNN.
    weights
        "pretrained" fetches the published weights; a path to a safetensors file works offline; None leaves the
        weights random, to be loaded later or trained from scratch.
    levels
        Which of a CNN's pyramid levels to use, counted from its finest.
    window_px
        Encode fixed windows of this size, anchored at the image's corner: for encoders with a global operation.
    depth, dim
        Another depth and width of a foundation model; no published weights fit then.
    """
    if name == "stain":
        return StainEncoder()
    row = FOUNDATION.get(name)
    encoder: Cnn | Vit
    if row is None:
        encoder, path = Cnn(name, levels), locate_weights(name, weights)
    else:  # weights first: building a large ViT for nothing would take half a minute
        path, encoder = locate_weights(name, weights), Vit(row, depth=depth, dim=dim)
    if path is not None:
        fill_encoder(encoder.model, name, path)
    encoder.set_trainable("frozen")
    if row is None and window_px is None:
        return encoder
    return Windowed(encoder, window_px or encoder.alignment)


def encoders() -> pd.DataFrame:
    """List the pathology foundation models that can be named as encoder; timm CNNs work by their own names too.

    Returns
    -------
    One row per foundation model: license, whether access must be requested and where, µm per pixel, dimensions.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> "uni2-h" in ps.encoders().index
    True
    """
    import pandas as pd

    return pd.DataFrame([row.summary() for row in FOUNDATION.values()]).set_index("name")
