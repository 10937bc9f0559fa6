"""Features of an encoder as a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, overload

from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._sdata import elements
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd.nn.encoders.foundation import FOUNDATION, canonical_name
from pixnet_sd.nn.encoders.vit import remembered_windows
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.tl._predict_shapes import predict_shapes

# Input pixels per pixel of the map that is pooled.
STRIDE = 8
# Side of a tile: a pixel has thousands of channels.
TILE_PX = 512


@overload
def embed(
    sdata: SpatialData,
    shapes_key: str | None = ...,
    *,
    encoder: str,
    image_key: str | None = ...,
    context_um: tuple[float, ...] = ...,
    stain: bool = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    coordinate_system: str | None = ...,
    encoder_weights: str | Path | None = ...,
    key_added: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    inplace: Literal[True] = ...,
    progress: bool | None = ...,
) -> None: ...
@overload
def embed(
    sdata: SpatialData,
    shapes_key: str | None = ...,
    *,
    encoder: str,
    image_key: str | None = ...,
    context_um: tuple[float, ...] = ...,
    stain: bool = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    coordinate_system: str | None = ...,
    encoder_weights: str | Path | None = ...,
    key_added: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> AnnData: ...
def embed(
    sdata: SpatialData,
    shapes_key: str | None = None,
    *,
    encoder: str,
    image_key: str | None = None,
    context_um: tuple[float, ...] = (),
    stain: bool = False,
    mpp: float | None = None,
    tissue_key: str | None = "auto",
    coordinate_system: str | None = None,
    encoder_weights: str | Path | None = "pretrained",
    key_added: str | None = None,
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    overwrite: bool = False,
    device: str | None = None,
    batch_size: int | None = None,
    tile_size: int | None = None,
    inplace: bool = True,
    progress: bool | None = None,
) -> AnnData | None:
    """Pool an encoder's features of the image over shapes, as a table.

    Features are computed once for each part of the image that meets a shape, as a dense map that is never stored, and
    averaged over each shape exactly, by covered area. No model is trained, and no counts are needed.

    Parameters
    ----------
    sdata
        The object that holds image and shapes.
    shapes_key
        Polygons or circles. Optional if the object has exactly one.
    encoder
        A foundation model from ``ps.encoders()``, ``"stain"`` (color and texture, no download), or a CNN of timm.
    image_key
        The H&E image. Optional if the object has exactly one.
    context_um
        Sides of boxes around each pixel, in µm, whose mean features are added as further columns.
    stain
        Add stain statistics.
    mpp
        Micrometres per pixel of the image, where the object does not say it.
    tissue_key
        Labels that mark tissue; found by default and `None` for the whole image, as in :func:`predict`. What is off the
        tissue counts as not covered.
    coordinate_system
        The coordinate system in which shapes and image lie over each other; only needed where several disagree.
    encoder_weights
        ``"pretrained"`` fetches published weights; a safetensors file works offline.
    key_added
        Name of the table; ``"{shapes}_features"`` by default.
    value_range
        Intensity range ``(black, white)`` of an image that is not uint8.
    allow_upsample
        Interpolate an image that is coarser than what the encoder was trained on.
    overwrite
        Replace a table of that name.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; by default the fastest there is.
    batch_size
        Tiles at once.
    tile_size
        Side in pixels of what a tile keeps.
    inplace
        Add the table to the object. Otherwise it is returned.
    progress
        Show a progress bar; by default ``ps.settings.progress``.

    Returns
    -------
    If ``inplace=False`` the table, else None: one row for each shape, one column for each feature,
    ``obs["coverage"]`` as from `aggregate`. Rows of shapes without coverage are NaN.

    See Also
    --------
    pixnet_sd.encoders : List the foundation models.
    pixnet_sd.tl.train : Train a model on such features.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.embed(sdata, "cells", encoder="stain", image_key="he", progress=False)
    >>> sdata.tables["cells_features"].n_vars
    100
    """
    shapes_key = elements.find_shapes_key(sdata, shapes_key)
    name = f"{shapes_key}_features" if key_added is None else key_added
    if inplace:
        check_results(sdata, {name: "tables"}, overwrite=overwrite)
    model = make_embedder(encoder, tuple(context_um), stain, encoder_weights)
    with remembered_windows(model.network.members[0].encoder):
        table = predict_shapes(
            sdata,
            shapes_key,
            model=model,
            image_key=image_key,
            statistic="mean",
            mpp=mpp,
            tissue_key=tissue_key,
            coordinate_system=coordinate_system,
            value_range=value_range,
            allow_upsample=allow_upsample,
            device=device,
            batch_size=batch_size,
            tile_size=tile_size or TILE_PX,
            inplace=False,
            progress=progress,
        )
    table.var = table.var[[]]
    if not inplace:
        return table
    attach(sdata, {name: table}, {name: {"kind": "table", **table.uns["pixnet_sd"]}}, overwrite=overwrite)
    return None


def make_embedder(
    encoder: str, context_um: tuple[float, ...], stain: bool, encoder_weights: str | Path | None
) -> Model:
    """Make a model whose genes are the features of an encoder."""
    if not isinstance(encoder, str):
        raise PixnetTypeError(f'encoder must be a name, e.g. "hibou-b" or "stain"; got {encoder!r}.')
    if encoder != "stain" and encoder_weights is None:
        raise PixnetValueError(f"Features of {encoder!r} with random weights mean nothing: encoder_weights was None.")
    known = canonical_name(encoder) in FOUNDATION
    config = NetworkConfig.foundation(encoder) if known else NetworkConfig(encoder, (0, 1, 2, 3), mpp=0.5)
    config = replace(
        config,
        decoder="features",
        head="features",
        stride=STRIDE,
        stain=stain,
        context_um=context_um,
        fine=True,
        programs=1,
    )
    network = PixNet(config, 1, encoder_weights=encoder_weights)
    names = [f"{config.encoder}_{number}" for number in range(network.decoder.dim)]
    return Model([network], names, Card(f"features of {config.encoder}"))
