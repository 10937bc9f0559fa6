"""Maps of expression over the H&E."""

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
from pixnet_sd.pl._draw.backdrop import Backdrop, draw_backdrop, place_image, read_backdrop
from pixnet_sd.pl._draw.canvas import Panel, finish_figure, one_or_all, picture_panels
from pixnet_sd.pl._draw.colours import Limit, find_limits, make_colours
from pixnet_sd.pl._draw.furniture import COLOUR_BAR_IN, draw_colour_bar, draw_frame, format_unit
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.view import Region, find_view


def expression(
    sdata: SpatialData,
    genes: str | Sequence[str],
    *,
    image_key: str | None = None,
    raster_key: str | None = None,
    crop_coord: Region | None = None,
    crop_unit: str = "um",
    coordinate_system: str | None = None,
    over: bool = True,
    he: str = "grey",
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

    The higher the expression, the more opaque the colour, so tissue stays visible where there is little. Where the map
    has no value, nothing is drawn. Only as many pixels are read as the figure can show, from the pyramid level that
    fits, so a whole slide takes seconds.

    Parameters
    ----------
    sdata
        The object that holds the map and the image.
    genes
        A gene, or several for a panel each. Any channel of the map will do.
    image_key
        The H&E image; by default the one that the map was predicted from, or else the only one.
    raster_key
        The map: programs or genes that were predicted, or any image with named channels. By default the only
        predicted map, or else the only image.
    crop_coord
        What to show: ``(x0, y0, x1, y1)``, counted from the image's upper left corner in `crop_unit`, or the key of
        shapes to show the surroundings of. By default the whole image.
    crop_unit
        ``"um"`` or ``"px"``, pixels of the image's finest level.
    coordinate_system
        The one in which elements lie over each other; only needed where several disagree.
    over
        Draw over the H&E. Otherwise the map alone, opaque.
    he
        ``"grey"`` (on a dark figure its negative) or ``"colour"``.
    value_range
        Black and white of an H&E image that is not uint8, e.g. ``(0, 65535)``.
    cmap
        A colour map of matplotlib; by default magma, with its light end on light figures and its dark end on dark ones
        for low values.
    vmin, vmax
        Ends of the colour scale: numbers, or percentiles of what is shown such as ``"p99"``. Without `vmin` it begins
        at 0, or at the least value where that is negative.
    alpha
        Of the highest values.
    ncols
        Panels in a row.
    dark
        Light text on a dark figure.
    ax
        Axes to draw into, one for each gene. In a figure with ``layout="constrained"`` nothing overlaps.
    show
        Show the figure. By default only where it is new and the session is interactive.
    save
        File to save the figure to.

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
    panels = picture_panels(len(names), view.aspect, ax=ax, ncols=ncols, beside_in=COLOUR_BAR_IN, theme=theme)
    below = read_backdrop(sdata, view, Backdrop(over, he, value_range), panels[0], theme)
    above = map_picture(sdata, raster, view.image_key, view.box, panels[0].width_px, coordinate_system)
    colours = make_colours(cmap, alpha if over else 1.0, theme, fade=over)
    for panel, name, values in zip(panels, names, above.data, strict=True):
        draw_backdrop(panel.ax, below)
        draw_values(panel, values, above.to_image, colours, (vmin, vmax), format_unit(raster.unit), theme)
        draw_frame(panel, view, theme, name)
    axes = [panel.ax for panel in panels]
    finish_figure(axes, new=ax is None, show=show, save=save)
    return one_or_all(axes, isinstance(genes, str))


def read_genes(sdata: SpatialData, raster_key: str | None, names: list[str]) -> maps.Map:
    raster = maps.read_map(sdata, raster_key)
    check_known(names, raster.genes, f"the map {raster.key!r}")
    return maps.select_genes_of(raster, names)


def frame_key(sdata: SpatialData, image_key: str | None, raster: maps.Map, over: bool) -> str:
    """The image that the drawing is laid out in: the H&E, or the map itself where it is drawn alone."""
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
    colours: Colormap,
    ends: tuple[Limit, Limit],
    unit: str,
    theme: Theme,
) -> None:
    drawn = place_image(
        panel.ax, np.ma.masked_invalid(values), to_image, cmap=colours, norm=find_limits(values, *ends), zorder=1
    )
    draw_colour_bar(panel, drawn, unit, theme)
