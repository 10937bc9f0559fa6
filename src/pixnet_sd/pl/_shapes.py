"""Cells, spots and bins over the H&E."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, to_rgba_array
from spatialdata import SpatialData

from pixnet_sd._keys import as_list
from pixnet_sd._sdata import elements, images
from pixnet_sd._sdata.drawing import PlacedPicture
from pixnet_sd._sdata.shapes import read_shapes
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.pl._draw.backdrop import Backdrop, draw_backdrop, read_backdrop
from pixnet_sd.pl._draw.canvas import MULTIPLE_IN, Panel, finish_figure, one_or_all, picture_panels
from pixnet_sd.pl._draw.colours import Limit, find_limits, make_colours, palette_for
from pixnet_sd.pl._draw.furniture import (
    COLOUR_BAR_IN,
    draw_colour_bar,
    draw_frame,
    draw_legend,
    format_unit,
    legend_width,
)
from pixnet_sd.pl._draw.patches import shape_collections
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.values import Categories, Numbers, Values, read_values
from pixnet_sd.pl._draw.view import MapView, Region, find_view

Palette = Sequence[str] | Mapping[str, str]
OUTLINE_PT = 0.7


@dataclass(frozen=True)
class Style:
    """How shapes are filled and outlined."""

    cmap: str | Colormap | None
    vmin: Limit
    vmax: Limit
    palette: Palette | None
    alpha: float
    outline_color: str | None
    """Colour of outlines; None for none, except where there is nothing but outlines."""
    linewidth: float
    theme: Theme
    common: np.ndarray | None = None
    """What several panels show together, where they share one scale."""


def shapes(
    sdata: SpatialData,
    shapes_key: str | None = None,
    color: str | Sequence[str] | None = None,
    *,
    table_key: str | None = None,
    layer: str | None = None,
    image_key: str | None = None,
    crop_coord: Region | None = None,
    crop_unit: str = "um",
    coordinate_system: str | None = None,
    over: bool = True,
    he: str = "grey",
    value_range: tuple[float, float] | None = None,
    cmap: str | Colormap | None = None,
    vmin: Limit = None,
    vmax: Limit = "p99",
    palette: Palette | None = None,
    alpha: float = 0.85,
    outline_color: str | None = None,
    linewidth: float = OUTLINE_PT,
    ncols: int = 4,
    dark: bool = False,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | list[Axes]:
    """Draw cells, spots or bins over the H&E image, filled by a gene or an annotation, or as outlines.

    Shapes lie where they are aggregated: circles become the ellipses, and polygons the polygons, that the
    transformations make of them. A shape without a value is not filled.

    Parameters
    ----------
    sdata
        The object that holds the shapes and the image.
    shapes_key
        The shapes; may be left out when there is one element.
    color
        What fills them: a gene, a column of the table's ``obs`` (numbers, or categories such as clusters), or a column
        of the shapes. Several for a panel each. None for outlines only.
    table_key
        The table with genes and annotations. By default ``"{shapes}_expression"``, or else the only one that annotates
        the shapes. A column of the shapes themselves comes first unless a table is named.
    layer
        The layer to take genes from; by default X.
    image_key
        The H&E image; may be left out when there is one.
    crop_coord
        What to show: ``(x0, y0, x1, y1)``, counted from the image's upper left corner in `crop_unit`, or the key of
        shapes to show the surroundings of. By default the whole image.
    crop_unit
        ``"um"`` or ``"px"``, pixels of the image's finest level.
    coordinate_system
        The one in which elements lie over each other; only needed where several disagree.
    over
        Draw over the H&E. Otherwise on plain paper.
    he
        ``"grey"`` (on a dark figure its negative) or ``"colour"``.
    value_range
        Black and white of an H&E image that is not uint8, e.g. ``(0, 65535)``.
    cmap
        A colour map of matplotlib for numbers; by default magma, with its light end on light figures and its dark end
        on dark ones for low values.
    vmin, vmax
        Ends of the colour scale: numbers, or percentiles of what is shown such as ``"p99"``. Without `vmin` it begins
        at 0, or at the least value where that is negative.
    palette
        Colours of the categories, in their order or by name. By default those that scanpy stored in the table, else
        a palette that is safe for any colour vision up to 8 categories.
    alpha
        Of the fill.
    outline_color
        Colour of outlines around filled shapes; by default none.
    linewidth
        Of outlines, in points.
    ncols
        Panels in a row.
    dark
        Light text on a dark figure.
    ax
        Axes to draw into, one for each of `color`. In a figure with ``layout="constrained"`` nothing overlaps.
    show
        Show the figure. By default only where it is new and the session is interactive.
    save
        File to save the figure to.

    Returns
    -------
    The axes, in pixels of the image's finest level with y down; a list where `color` is one.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> gene = sdata.tables["bins_8um_counts"].var_names[0]
    >>> ax = ps.pl.shapes(sdata, "bins_8um", gene)
    >>> ax = ps.pl.shapes(sdata, "cells", "cell_type", crop_coord=(20, 20, 90, 90))
    >>> ax.get_title()
    'cell_type'
    """
    key, theme = elements.find_shapes_key(sdata, shapes_key), theme_of(dark)
    colors = [None] if color is None else as_list(color, "color")
    style = Style(cmap, vmin, vmax, palette, alpha, outline_color, linewidth, theme)
    values = [
        None if name is None else read_values(sdata, key, name, table_key=table_key, layer=layer) for name in colors
    ]
    view = find_view(sdata, elements.find_image_key(sdata, image_key), crop_coord, crop_unit, coordinate_system)
    panels = picture_panels(
        len(colors), view.aspect, ax=ax, ncols=ncols, beside_in=max(map(side_width, values)), theme=theme
    )
    below = read_backdrop(sdata, view, Backdrop(over, he, value_range), panels[0], theme)
    placed, rows = visible_shapes(sdata, key, view, coordinate_system)
    for panel, name, value in zip(panels, colors, values, strict=True):
        draw_panel(panel, view, below, placed, take_rows(value, rows), name or key, style)
    axes = [panel.ax for panel in panels]
    finish_figure(axes, new=ax is None, show=show, save=save)
    return one_or_all(axes, color is None or isinstance(color, str))


def side_width(values: Values | None) -> float:
    """Inches for a colour bar, a legend, or nothing."""
    if values is None:
        return 0.1
    return COLOUR_BAR_IN if isinstance(values, Numbers) else legend_width(values.names, MULTIPLE_IN)


def visible_shapes(
    sdata: SpatialData, key: str, view: MapView, coordinate_system: str | None
) -> tuple[Shapes, np.ndarray]:
    """The shapes that reach into the view, in finest pixels of its image, and their rows."""
    grid = images.read_image(sdata, view.image_key).grid
    found = read_shapes(sdata, key, view.image_key, grid, coordinate_system).shapes
    x0, y0, x1, y1 = found.bounds.T
    rows = np.flatnonzero((x1 > view.box.x0) & (y1 > view.box.y0) & (x0 < view.box.x1) & (y0 < view.box.y1))
    return found.take(rows), rows


def take_rows(values: Values | None, rows: np.ndarray) -> Values | None:
    if isinstance(values, Numbers):
        return replace(values, values=values.values[rows])
    return None if values is None else replace(values, codes=values.codes[rows])


def draw_panel(
    panel: Panel,
    view: MapView,
    below: PlacedPicture | None,
    placed: Shapes,
    values: Values | None,
    title: str,
    style: Style,
) -> None:
    draw_backdrop(panel.ax, below)
    draw_frame(panel, view, style.theme, title)
    if values is None:
        draw_filled(panel.ax, placed, None, style)
    elif isinstance(values, Numbers):
        draw_numbers(panel, placed, values, style)
    else:
        draw_categories(panel, placed, values, style)


def draw_numbers(panel: Panel, placed: Shapes, numbers: Numbers, style: Style) -> None:
    scaled = numbers.values if style.common is None else style.common
    norm = find_limits(scaled, style.vmin, style.vmax)
    scale = ScalarMappable(norm, make_colours(style.cmap, style.alpha, style.theme, fade=False))
    scale.set_array(scaled)
    draw_filled(panel.ax, placed, scale.to_rgba(np.ma.masked_invalid(numbers.values)), style)
    draw_colour_bar(panel, scale, format_unit(numbers.unit), style.theme)


def draw_categories(panel: Panel, placed: Shapes, categories: Categories, style: Style) -> None:
    colours = palette_for(categories.names, style.palette, categories.colours, style.theme)
    rgba = np.vstack([to_rgba_array(colours, style.alpha), np.zeros((1, 4))])  # -1 is the last: nothing
    draw_filled(panel.ax, placed, rgba[categories.codes], style)
    seen = np.unique(categories.codes[categories.codes >= 0])
    draw_legend(panel, [categories.names[code] for code in seen], [colours[code] for code in seen], style.theme)


def draw_filled(ax: Axes, placed: Shapes, fill: np.ndarray | None, style: Style) -> None:
    """`fill` is (n, 4); None for outlines only."""
    line = style.outline_color or (style.theme.outline if fill is None else "none")
    for rows, collection in shape_collections(placed, ax):
        collection.set(
            facecolor="none" if fill is None else fill[rows],
            edgecolor=line,
            linewidth=0 if line == "none" else style.linewidth,
            zorder=2,
        )
