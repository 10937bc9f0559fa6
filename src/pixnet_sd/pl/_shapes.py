"""Cells, spots and bins over the H&E."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, to_rgba_array
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import as_list
from pixnet_sd._sdata import elements, images
from pixnet_sd._sdata.drawing import PlacedPicture
from pixnet_sd._sdata.maps import LOG
from pixnet_sd._sdata.shapes import read_shapes
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.pl._draw.backdrop import Backdrop, HeStyle, draw_backdrop, read_backdrop
from pixnet_sd.pl._draw.canvas import MULTIPLE_IN, Panel, finish_figure, one_or_all, panel_titles, picture_panels
from pixnet_sd.pl._draw.colors import Limit, find_limits, make_colors, palette_for
from pixnet_sd.pl._draw.furniture import (
    COLOR_BAR_IN,
    draw_color_bar,
    draw_frame,
    draw_legend,
    format_unit,
    legend_width,
    say_nothing_here,
)
from pixnet_sd.pl._draw.patches import shape_collections
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.values import Categories, Numbers, Values, read_values
from pixnet_sd.pl._draw.view import CropUnit, MapView, Region, find_he_key, find_view

Palette = Sequence[str] | Mapping[str, str]
OUTLINE_PT = 0.7


@dataclass(frozen=True)
class Style:
    """Fill and outline of shapes."""

    cmap: str | Colormap | None
    vmin: Limit
    vmax: Limit
    palette: Palette | None
    alpha: float
    outline_color: str | None
    """None for no outlines, or for the default color where shapes are not filled."""
    linewidth: float
    theme: Theme
    he: HeStyle = "gray"
    """What lies below outlines."""
    common: np.ndarray | None = None
    """Values of all panels, where they share one scale."""


def shapes(
    sdata: SpatialData,
    shapes_key: str | None = None,
    color: str | Sequence[str] | None = None,
    *,
    table_key: str | None = None,
    layer: str | None = None,
    image_key: str | None = None,
    crop_coord: Region | None = None,
    crop_unit: CropUnit = "um",
    coordinate_system: str | None = None,
    over: bool = True,
    he: HeStyle = "gray",
    value_range: tuple[float, float] | None = None,
    cmap: str | Colormap | None = None,
    vmin: Limit = None,
    vmax: Limit = "p99",
    palette: Palette | None = None,
    alpha: float = 0.85,
    outline_color: str | None = None,
    linewidth: float = OUTLINE_PT,
    ncols: int = 4,
    size: float = 1.0,
    figsize: tuple[float, float] | None = None,
    title: str | Sequence[str] | None = None,
    dark: bool = False,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | list[Axes]:
    """Draw cells, spots or bins over the H&E image, filled by a gene or an annotation, or as outlines.

    Shapes are drawn as they are aggregated, after all transformations: circles may be ellipses. A shape without a
    value is not filled.

    Parameters
    ----------
    sdata
        SpatialData object with the shapes and the image.
    shapes_key
        Key of the shapes. Optional if the object has exactly one shapes element.
    color
        Gene, column of the table's ``obs`` (numbers, or categories such as clusters) or column of the shapes; several
        are drawn in one panel each. `None` draws outlines only.
    table_key
        Key of the table with genes and annotations. Default: ``"{shapes}_expression"``, or the only table that
        annotates the shapes. Without it, columns of the shapes take precedence.
    layer
        Layer to read genes from. Default: `X`.
    image_key
        Key of the H&E image. Default: the one that a map was predicted from, or the only one.
    crop_coord
        Region to draw: ``(x0, y0, x1, y1)`` in `crop_unit`, from the image's upper left corner, or the key of shapes
        or labels, whose extent is drawn with a margin, or of an image, for all of it. Default: the tissue if it is
        marked, else the whole image.
    crop_unit
        Unit of `crop_coord`: ``"um"``, or ``"px"`` for pixels of the image's finest level.
    coordinate_system
        Coordinate system that aligns the elements. Only needed if several disagree.
    over
        Draw the H&E below. Otherwise the background is plain.
    he
        How to show the H&E: ``"gray"`` (inverted on a dark figure) or ``"color"``.
    value_range
        Intensity range ``(black, white)`` of an H&E image that is not uint8, e.g. ``(0, 65535)``.
    cmap
        Matplotlib colormap for numbers. Default: magma, reversed on light figures so that low values are light.
    vmin, vmax
        Limits of the color scale: numbers, or percentiles of the values drawn, such as ``"p99"``. Default of `vmin`:
        ``"p1"`` for logarithms; otherwise 0, or the minimum if that is negative.
    palette
        Colors of the categories, in their order or by name. Default: those that scanpy stored in the table, or a
        palette that is colorblind-safe up to 8 categories.
    alpha
        Opacity of the fill.
    outline_color
        Color of outlines around filled shapes. Default: no outlines.
    linewidth
        Width of outlines in points.
    ncols
        Number of panels per row.
    size
        Factor by which shapes are enlarged around their centers, so that small cells can be seen on a whole slide. They
        may cover each other then.
    figsize
        Width and height of a new figure in inches. Default: by the number and shape of the panels.
    title
        Title of each panel. Default: the entry of `color`.
    dark
        Draw light text on a dark figure.
    ax
        Axes to draw into, one per entry of `color`. Use a figure with ``layout="constrained"`` to avoid overlaps.
    show
        Whether to show the figure. By default, only a new figure in an interactive session.
    save
        Path to save the figure to.

    Returns
    -------
    The axes, in pixels of the image's finest level with y down; a list where `color` is one.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> section = ps.datasets.breast()
    >>> axes = ps.pl.shapes(section, "spots", ["ERBB2", "COL1A1"])
    >>> ax = ps.pl.shapes(section, "spots", he="color", crop_coord=(1000, 1000, 2000, 1600))
    >>> ax.get_title()
    'spots'
    """
    key, theme = elements.find_shapes_key(sdata, shapes_key), theme_of(dark)
    colors = [None] if color is None else as_list(color, "color")
    titles = panel_titles(title, [name or key for name in colors])
    style = Style(cmap, vmin, vmax, palette, alpha, outline_color, linewidth, theme, he)
    values = [
        None if name is None else read_values(sdata, key, name, table_key=table_key, layer=layer) for name in colors
    ]
    view = find_view(sdata, find_he_key(sdata, image_key), crop_coord, crop_unit, coordinate_system)
    beside_in = max(map(side_width, values))
    panels = picture_panels(
        len(colors), view.aspect, ax=ax, ncols=ncols, beside_in=beside_in, theme=theme, figsize=figsize
    )
    backdrop = read_backdrop(sdata, view, Backdrop(over, he, value_range), panels[0], theme)
    geometry, rows = visible_shapes(sdata, key, view, coordinate_system)
    geometry = geometry.enlarged(check_size(size))
    for panel, text, value in zip(panels, titles, values, strict=True):
        draw_panel(panel, view, backdrop, geometry, take_rows(value, rows), text, style)
    axes = [panel.ax for panel in panels]
    finish_figure(axes, new=ax is None, show=show, save=save)
    return one_or_all(axes, color is None or isinstance(color, str))


def check_size(size: float) -> float:
    if not (isinstance(size, Real) and 0 < size < np.inf):
        raise PixnetValueError(f"size is the factor by which shapes are enlarged, a number above 0; got {size!r}.")
    return float(size)


def side_width(values: Values | None) -> float:
    """Return the inches that a color bar or a legend needs."""
    if values is None:
        return 0.1
    return COLOR_BAR_IN if isinstance(values, Numbers) else legend_width(values.names, MULTIPLE_IN)


def visible_shapes(
    sdata: SpatialData, key: str, view: MapView, coordinate_system: str | None
) -> tuple[Shapes, np.ndarray]:
    """Return the shapes that intersect the view, in pixels of its image, and their rows."""
    grid = images.read_image(sdata, view.image_key).grid
    found = read_shapes(sdata, key, view.image_key, grid, coordinate_system).shapes
    # Bounds of empty shapes are NaN, for which all comparisons are false.
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
    backdrop: PlacedPicture | None,
    geometry: Shapes,
    values: Values | None,
    title: str,
    style: Style,
) -> None:
    draw_backdrop(panel.ax, backdrop)
    draw_frame(panel, view, style.theme, title)
    if values is None:
        draw_filled(panel.ax, geometry, None, style)
    elif isinstance(values, Numbers):
        draw_numbers(panel, geometry, values, style)
    else:
        draw_categories(panel, geometry, values, style)


def draw_numbers(panel: Panel, geometry: Shapes, numbers: Numbers, style: Style) -> None:
    if not np.isfinite(numbers.values).any():
        say_nothing_here(panel, style.theme)
        return
    scaled = numbers.values if style.common is None else style.common
    # Logarithms do not begin at 0: a scale that does would show one color.
    lowest = "p1" if style.vmin is None and numbers.unit == LOG else style.vmin
    norm = find_limits(scaled, lowest, style.vmax)
    scale = ScalarMappable(norm, make_colors(style.cmap, style.alpha, style.theme, fade=False))
    scale.set_array(scaled)
    draw_filled(panel.ax, geometry, scale.to_rgba(np.ma.masked_invalid(numbers.values)), style)
    draw_color_bar(panel, scale, format_unit(numbers.unit), style.theme)


def draw_categories(panel: Panel, geometry: Shapes, categories: Categories, style: Style) -> None:
    colors = palette_for(categories.names, style.palette, categories.colors, style.theme)
    rgba = np.vstack([to_rgba_array(colors, style.alpha), np.zeros((1, 4))])  # -1 is the last: nothing
    draw_filled(panel.ax, geometry, rgba[categories.codes], style)
    seen = np.unique(categories.codes[categories.codes >= 0])
    draw_legend(panel, [categories.names[code] for code in seen], [colors[code] for code in seen], style.theme)


def draw_filled(ax: Axes, geometry: Shapes, fill: np.ndarray | None, style: Style) -> None:
    """Draw shapes; `fill` is (n, 4), or None for outlines only."""
    line = style.outline_color or (style.theme.outlines[style.he] if fill is None else "none")
    for rows, collection in shape_collections(geometry, ax):
        collection.set(
            facecolor="none" if fill is None else fill[rows],
            edgecolor=line,
            linewidth=0 if line == "none" else style.linewidth,
            zorder=2,
        )
