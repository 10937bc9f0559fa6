"""Encoders by name: "stain", a pathology foundation model, or any timm CNN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.cnn import Cnn
from pixnet_sd.nn.encoders.fetch import PRETRAINED, locate_weights
from pixnet_sd.nn.encoders.foundation import FOUNDATION, canonical_name
from pixnet_sd.nn.encoders.stain import StainEncoder
from pixnet_sd.nn.encoders.vit import Vit, Windowed
from pixnet_sd.nn.encoders.weights import fill_encoder

if TYPE_CHECKING:
    import pandas as pd

# The file of the bundled model, whose encoder is frozen as it was published, and the deepest of its levels there.
BUNDLED = Path(__file__).parents[2] / "weights/default/weights.safetensors"
BUNDLED_ENCODER, BUNDLED_LEVEL = "tf_efficientnet_lite0", 3


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
        "stain", a name from `encoders()` or another tool's name for one, or a timm CNN.
    weights
        "pretrained" fetches the published weights; a path to a safetensors file works offline; None leaves the
        weights random, to be loaded later or trained from scratch.
    levels
        Which of a CNN's pyramid levels to use, counted from its finest.
    window_px
        Encode fixed windows of this size, anchored at the image's corner: for encoders with a global operation.
        Position embeddings of foundation models are resampled to it.
    depth, dim
        Another depth and width of a foundation model; no published weights fit then.
    """
    if name == "stain":
        return StainEncoder()
    name = canonical_name(name)
    row = FOUNDATION.get(name)
    encoder: Cnn | Vit
    if row is None:
        encoder = Cnn(name, levels)
        path = BUNDLED if weights == PRETRAINED and is_bundled(name, levels) else locate_weights(name, weights)
    else:  # weights first: building a large ViT for nothing would take half a minute
        path, encoder = locate_weights(name, weights), Vit(row, depth=depth, dim=dim, window_px=window_px)
    if path is not None:
        fill_encoder(encoder.model, name, path)
    encoder.set_trainable("frozen")
    whole = encoder if row is None and window_px is None else Windowed(encoder, window_px or encoder.alignment)
    whole.published = path is not None
    return whole


def is_bundled(name: str, levels: Sequence[int] | None) -> bool:
    """Return whether the bundled model has these levels of an encoder, as it was published: nothing to download."""
    return name == BUNDLED_ENCODER and levels is not None and max(levels) <= BUNDLED_LEVEL and BUNDLED.is_file()


def encoders() -> pd.DataFrame:
    """List the pathology foundation models that can be named as encoder; timm CNNs work by their own names too.

    Those to choose from come first. Names of LazySlide and TRIDENT are understood as well, such as ``"uni2"``.

    Returns
    -------
    One row per foundation model: when to choose it, its µm per pixel and where they are stated (the model's card, as a
    magnification only, or by convention), dimensions, megabytes, license and whether that and the card allow
    commercial use, how to get access, and the file that is fetched, by revision and sha256.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> "uni2-h" in ps.encoders().index
    True
    """
    import pandas as pd

    return pd.DataFrame([row.summary() for row in FOUNDATION.values()]).set_index("name")
