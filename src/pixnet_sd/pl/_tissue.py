"""Plot of the tissue that is marked on an H&E image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetKeyError
from pixnet_sd._keys import resolve_key
from pixnet_sd._keys import tissue_key as default_tissue_key
from pixnet_sd._metrics.alignment import Raster
from pixnet_sd._sdata import affine, images
from pixnet_sd.pl._alignment import TISSUE, draw_outline
from pixnet_sd.pl._draw.backdrop import Backdrop, HeStyle, draw_backdrop, read_backdrop
from pixnet_sd.pl._draw.canvas import finish_figure, panel_titles, picture_panels
from pixnet_sd.pl._draw.furniture import draw_frame
from pixnet_sd.pl._draw.theme import theme_of
from pixnet_sd.pl._draw.view import CropUnit, Region, find_he_key, find_view

BESIDE_IN = 0.1
MOST_PX = 4096
"""Longest side of a mask whose border is drawn exactly; of larger ones every second pixel is, or fewer."""


def tissue(
    sdata: SpatialData,
    image_key: str | None = None,
    *,
    tissue_key: str | None = None,
    crop_coord: Region | None = None,
    crop_unit: CropUnit = "um",
    coordinate_system: str | None = None,
    he: HeStyle = "color",
    value_range: tuple[float, float] | None = None,
    figsize: tuple[float, float] | None = None,
    title: str | None = None,
    dark: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the outline of the tissue over the H&E image.

    Parameters
    ----------
    sdata
        SpatialData object with the image and its tissue.
    image_key
        Key of the H&E image. Default: the one that a map was predicted from, or the only one.
    tissue_key
        Key of the labels that mark the tissue. Default: ``"{image}_tissue"``, as :func:`pixnet_sd.pp.tissue` adds them.
    crop_coord
        Region to draw: ``(x0, y0, x1, y1)`` in `crop_unit`, from the image's upper left corner, or the key of shapes
        or labels, whose extent is drawn with a margin. Default: the whole image.
    crop_unit
        Unit of `crop_coord`: ``"um"``, or ``"px"`` for pixels of the image's finest level.
    coordinate_system
        Coordinate system that aligns the elements. Only needed if several disagree.
    he
        How to show the H&E: ``"color"`` or ``"gray"`` (inverted on a dark figure).
    value_range
        Intensity range ``(black, white)`` of an image that is not uint8.
    figsize
        Width and height of a new figure in inches. Default: by the shape of the picture.
    title
        Title. Default: the key of the labels and the share of the image that they cover.
    dark
        Draw light text on a dark figure.
    ax
        Axes to draw into. Use a figure with ``layout="constrained"`` to avoid overlaps.
    show
        Whether to show the figure. By default, only a new figure in an interactive session.
    save
        Path to save the figure to.

    Returns
    -------
    The axes, in pixels of the image's finest level with y down.

    See Also
    --------
    pixnet_sd.pp.tissue : Mark the tissue, more or less tightly.
    alignment : Shapes and tissue over the H&E.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> section = ps.datasets.breast()
    >>> ps.pp.tissue(section)
    >>> ax = ps.pl.tissue(section)
    >>> ax.get_title()
    'he_tissue: ... % of the image'
    """
    image, theme = find_he_key(sdata, image_key), theme_of(dark)
    key = find_tissue_key(sdata, image, tissue_key)
    mask = read_mask_of(sdata, key, image, coordinate_system)
    view = find_view(sdata, image, image if crop_coord is None else crop_coord, crop_unit, coordinate_system)
    (panel,) = picture_panels(1, view.aspect, ax=ax, ncols=1, beside_in=BESIDE_IN, theme=theme, figsize=figsize)
    draw_backdrop(panel.ax, read_backdrop(sdata, view, Backdrop(True, he, value_range), panel, theme))
    draw_frame(panel, view, theme, *panel_titles(title, [f"{key}: {100 * mask.values.mean():.0f} % of the image"]))
    draw_outline(panel.ax, mask, TISSUE[dark])
    finish_figure([panel.ax], new=ax is None, show=show, save=save)
    return panel.ax


def find_tissue_key(sdata: SpatialData, image_key: str, tissue_key: str | None) -> str:
    key = default_tissue_key(image_key)
    if tissue_key is None and key not in sdata.labels:
        raise PixnetKeyError(
            f"No tissue is marked on {image_key!r}: there are no labels {key!r}. Run pp.tissue(sdata, {image_key!r}), "
            "or name labels with tissue_key=..."
        )
    return resolve_key("labels", tissue_key or key, sdata.labels, "tissue_key")


def read_mask_of(sdata: SpatialData, key: str, image_key: str, coordinate_system: str | None) -> Raster:
    """Read labels as a mask, thinned where it is larger than can be drawn."""
    mask = images.read_mask(sdata, key)[0]
    step = -(-max(mask.shape) // MOST_PX)
    to_image = affine.matrix_between(sdata, key, image_key, coordinate_system) @ np.diag([step, step, 1.0])
    return Raster(load_lazy(mask[::step, ::step]) > 0, np.linalg.inv(to_image))
