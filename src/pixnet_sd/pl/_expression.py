"""Plot of expression maps over the H&E image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from spatialdata import SpatialData

from pixnet_sd._keys import as_list, check_known
from pixnet_sd._sdata import elements, maps, provenance
from pixnet_sd._sdata.drawing import map_picture
from pixnet_sd.pl._draw.backdrop import Backdrop, HeStyle, draw_backdrop, place_image, read_backdrop
from pixnet_sd.pl._draw.canvas import Panel, finish_figure, one_or_all, picture_panels
from pixnet_sd.pl._draw.colors import Limit, find_limits, make_colors
from pixnet_sd.pl._draw.furniture import COLOR_BAR_IN, draw_color_bar, draw_frame, format_unit
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.view import CropUnit, Region, find_view


def expression(
    sdata: SpatialData,
    genes: str | Sequence[str],
    *,
    image_key: str | None = None,
    raster_key: str | None = None,
    crop_coord: Region | None = None,
    crop_unit: CropUnit = "um",
    coordinate_system: str | None = None,
    over: bool = True,
    he: HeStyle = "gray",
    value_range: tuple[float, float] | None = None,
    cmap: str | Colormap | None = None,
    vmin: Limit = None,
    vmax: Limit = "p99",
    alpha: float = 0.9,
    ncols: int = 4,
    dark: bool = False,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | list[Axes]:
    """Draw the map of one or several genes over the H&E image.

    Opacity increases with expression, so that the tissue stays visible; pixels without a value are transparent. Only
    the resolution that the figure can show is read, so a whole slide takes seconds.

    Parameters
    ----------
    sdata
        SpatialData object with the map and the image.
    genes
        Gene or genes, one panel each; any channel of the map.
    image_key
        Key of the H&E image. Default: the one that the map was predicted from, or the only one.
    raster_key
        Key of the map: predicted programs or genes, or any image with named channels. Default: the only predicted
        map, or the only image.
    crop_coord
        Region to draw: ``(x0, y0, x1, y1)`` in `crop_unit`, from the image's upper left corner, or the key of shapes,
        whose extent is drawn with a margin. Default: the whole image.
    crop_unit
        Unit of `crop_coord`: ``"um"``, or ``"px"`` for pixels of the image's finest level.
    coordinate_system
        Coordinate system that aligns the elements. Only needed if several disagree.
    over
        Draw the H&E below. Otherwise the map is drawn alone and opaque.
    he
        How to show the H&E: ``"gray"`` (inverted on a dark figure) or ``"color"``.
    value_range
        Intensity range ``(black, white)`` of an H&E image that is not uint8, e.g. ``(0, 65535)``.
    cmap
        Matplotlib colormap. Default: magma, reversed on light figures so that low values are light.
    vmin, vmax
        Limits of the color scale: numbers, or percentiles of the values drawn, such as ``"p99"``. Default of `vmin`: 0,
        or the minimum if that is negative.
    alpha
        Opacity of the highest values.
    ncols
        Number of panels per row.
    dark
        Draw light text on a dark figure.
    ax
        Axes to draw into, one per gene. Use a figure with ``layout="constrained"`` to avoid overlaps.
    show
        Whether to show the figure. By default, only a new figure in an interactive session.
    save
        Path to save the figure to.

    Returns
    -------
    The axes, in pixels of the image's finest level with y down; a list where `genes` is one.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> gene = sdata.tables["truth_loadings"].var_names[0]
    >>> ax = ps.pl.expression(sdata, gene, raster_key="truth")
    >>> ax.get_title() == gene
    True
    """
    names, theme = as_list(genes, "genes"), theme_of(dark)
    raster = read_genes(sdata, raster_key, names)
    view = find_view(sdata, frame_key(sdata, image_key, raster, over), crop_coord, crop_unit, coordinate_system)
    panels = picture_panels(len(names), view.aspect, ax=ax, ncols=ncols, beside_in=COLOR_BAR_IN, theme=theme)
    backdrop = read_backdrop(sdata, view, Backdrop(over, he, value_range), panels[0], theme)
    above = map_picture(sdata, raster, view.image_key, view.box, panels[0].width_px, coordinate_system)
    colors = make_colors(cmap, alpha if over else 1.0, theme, fade=over)
    for panel, name, values in zip(panels, names, above.data, strict=True):
        draw_backdrop(panel.ax, backdrop)
        draw_values(panel, values, above.to_image, colors, (vmin, vmax), format_unit(raster.unit), theme)
        draw_frame(panel, view, theme, name)
    axes = [panel.ax for panel in panels]
    finish_figure(axes, new=ax is None, show=show, save=save)
    return one_or_all(axes, isinstance(genes, str))


def read_genes(sdata: SpatialData, raster_key: str | None, names: list[str]) -> maps.Map:
    raster = maps.read_map(sdata, raster_key)
    check_known(names, raster.genes, f"the map {raster.key!r}")
    return maps.select_genes_of(raster, names)


def frame_key(sdata: SpatialData, image_key: str | None, raster: maps.Map, over: bool) -> str:
    """Return the image that defines the axes: the H&E, or the map itself with ``over=False``."""
    source = (provenance.get_record(sdata, raster.key) or {}).get("image")
    if image_key is None and source in sdata.images:
        return str(source)
    if image_key is None and not over:
        return raster.key
    return elements.find_image_key(sdata, image_key)


def draw_values(
    panel: Panel,
    values: np.ndarray,
    to_image: np.ndarray,
    colors: Colormap,
    ends: tuple[Limit, Limit],
    unit: str,
    theme: Theme,
) -> None:
    drawn = place_image(
        panel.ax, np.ma.masked_invalid(values), to_image, cmap=colors, norm=find_limits(values, *ends), zorder=1
    )
    draw_color_bar(panel, drawn, unit, theme)
