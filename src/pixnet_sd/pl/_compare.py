"""Plot of a gene as measured and as predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError
from pixnet_sd.pl._draw.backdrop import Backdrop, HeStyle, read_backdrop
from pixnet_sd.pl._draw.canvas import Panel, finish_figure, picture_panels
from pixnet_sd.pl._draw.furniture import COLOR_BAR_IN, LARGE, style_axes
from pixnet_sd.pl._draw.profiles import Profiles, read_profiles
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.values import Numbers
from pixnet_sd.pl._draw.view import CropUnit, Region, find_he_key, find_view
from pixnet_sd.pl._shapes import Style, draw_panel, visible_shapes

UNIT = "log(1 + counts per 10,000)"
FEW_POINTS, MOST_POINTS = 300, 20_000
"""Numbers of points up to which they are large and opaque, and from which they are smallest."""


def compare(
    sdata: SpatialData,
    gene: str,
    *,
    predicted_key: str,
    measured_key: str,
    shapes_key: str | None = None,
    layer: str | None = None,
    unit: Literal["counts", "counts/um2", "log1p"] | None = None,
    image_key: str | None = None,
    crop_coord: Region | None = None,
    crop_unit: CropUnit = "um",
    coordinate_system: str | None = None,
    over: bool = True,
    he: HeStyle = "gray",
    value_range: tuple[float, float] | None = None,
    cmap: str | Colormap | None = None,
    share_scale: bool = True,
    figsize: tuple[float, float] | None = None,
    dark: bool = False,
    ax: Sequence[Axes] | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw a gene as measured, as predicted, and as a scatter plot of both.

    Both are log(1 + counts per 10,000), as in :func:`pixnet_sd.tl.evaluate`. Predictions vary less than measurements,
    which have noise; with ``share_scale=False`` each has its own scale, which compares the patterns. The Pearson
    correlation is computed over all shapes that have counts and a prediction, including those outside `crop_coord`;
    other shapes are not drawn.

    Parameters
    ----------
    sdata
        SpatialData object with the tables, their shapes and the image.
    gene
        Name of a gene that is in both tables.
    predicted_key
        Key of the table predicted for the same shapes.
    measured_key
        Key of the table with raw counts.
    shapes_key
        Key of the shapes. Optional if both tables annotate exactly one element.
    layer
        Layer of the measured table with raw counts. Default: `X`.
    unit
        Unit of the prediction: ``"counts"``, ``"counts/um2"`` or ``"log1p"``. Optional if the table records
        it, as those of this package do.
    image_key
        Key of the H&E image. Default: the one that a map was predicted from, or the only one.
    crop_coord
        Region to draw: ``(x0, y0, x1, y1)`` in `crop_unit`, from the image's upper left corner, or the key of shapes
        or labels, whose extent is drawn with a margin, or of an image, for all of it. Default: the shapes.
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
        Matplotlib colormap. Default: magma.
    share_scale
        Whether measured and predicted values have one color scale.
    figsize
        Width and height of a new figure in inches. Default: by the number and shape of the panels.
    dark
        Draw light text on a dark figure.
    ax
        Three axes to draw into. Use a figure with ``layout="constrained"`` to avoid overlaps.
    show
        Whether to show the figure. By default, only a new figure in an interactive session.
    save
        Path to save the figure to.

    Returns
    -------
    The axes: measured, predicted, scatter plot.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.aggregate(sdata, "bins_8um", raster_key="truth")
    >>> tables = {"predicted_key": "bins_8um_expression", "measured_key": "bins_8um_counts"}
    >>> axes = ps.pl.compare(sdata, "COL1A1", **tables)
    >>> [one.get_title() for one in axes[:2]]
    ['COL1A1 measured', 'COL1A1 predicted']
    """
    if not isinstance(gene, str):
        raise PixnetTypeError(f"One gene can be compared per call; got {gene!r}. Call compare for each of them.")
    pair = read_profiles(sdata, gene, predicted_key, measured_key, shapes_key, layer, unit)
    shapes, image, theme = pair.shapes_key, find_he_key(sdata, image_key), theme_of(dark)
    view = find_view(sdata, image, shapes if crop_coord is None else crop_coord, crop_unit, coordinate_system)
    panels = picture_panels(3, view.aspect, ax=ax, ncols=3, beside_in=COLOR_BAR_IN, theme=theme, figsize=figsize)
    backdrop = read_backdrop(sdata, view, Backdrop(over, he, value_range), panels[0], theme)
    geometry, rows = visible_shapes(sdata, shapes, view, coordinate_system)
    both = np.concatenate([pair.measured, pair.predicted])
    # Logs of counts per 10,000 do not begin at 0: a scale that does would show one color.
    style = Style(cmap, "p1", "p99", None, 0.85, None, 0.0, theme, common=both if share_scale else None)
    for panel, word, values in zip(panels, ("measured", "predicted"), (pair.measured, pair.predicted), strict=False):
        draw_panel(panel, view, backdrop, geometry, Numbers(values[rows], UNIT), f"{gene} {word}", style)
    draw_scatter(panels[2], pair, theme)
    axes = [panel.ax for panel in panels]
    finish_figure(axes, new=ax is None, show=show, save=save)
    return axes


def draw_scatter(panel: Panel, pair: Profiles, theme: Theme) -> None:
    """Draw each shape as a point, and the line on which prediction and measurement are equal."""
    ax, x, y = panel.ax, pair.measured[pair.compared], pair.predicted[pair.compared]
    crowd = np.clip(np.log(max(len(x), 1) / FEW_POINTS) / np.log(MOST_POINTS / FEW_POINTS), 0, 1)
    ax.axline((0, 0), slope=1, color=theme.faint, linewidth=0.8, linestyle="--", zorder=1)
    point = {"s": 14 - 11 * crowd, "alpha": 0.75 - 0.6 * crowd, "linewidths": 0, "zorder": 2, "rasterized": crowd > 0.5}
    ax.scatter(x, y, color=plt.get_cmap("magma")(0.45 if theme.paper == "#ffffff" else 0.75), **point)
    ends = pad_limits(np.concatenate([x, y]))
    ax.set(xlim=ends, ylim=ends, box_aspect=1, xlabel=f"measured, {UNIT}", ylabel="predicted")
    style_axes(ax, theme)
    pearson = "Pearson undefined" if np.isnan(pair.pearson) else f"Pearson {pair.pearson:.2f}"
    ax.set_title(f"{pearson}, {len(x):,} shapes", fontsize=LARGE)


def pad_limits(values: np.ndarray) -> tuple[float, float]:
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    margin = 0.04 * ((high - low) or 1.0)
    return float(low - margin), float(high + margin)
