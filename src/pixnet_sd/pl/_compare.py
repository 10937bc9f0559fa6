"""Measured beside predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from spatialdata import SpatialData

from pixnet_sd._sdata import elements
from pixnet_sd.pl._draw.backdrop import Backdrop, read_backdrop
from pixnet_sd.pl._draw.canvas import Panel, finish_figure, picture_panels
from pixnet_sd.pl._draw.furniture import COLOUR_BAR_IN, LARGE, style_axes
from pixnet_sd.pl._draw.profiles import Profiles, read_profiles
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.values import Numbers
from pixnet_sd.pl._draw.view import Region, find_view
from pixnet_sd.pl._shapes import Style, draw_panel, visible_shapes

UNIT = "log(1 + counts per 10,000)"
FEW_POINTS, MOST_POINTS = 300, 20_000
"""Points of the scatter are large and solid up to the first, small and faint from the second."""


def compare(
    sdata: SpatialData,
    gene: str,
    *,
    predicted_key: str,
    measured_key: str,
    shapes_key: str | None = None,
    layer: str | None = None,
    unit: str | None = None,
    image_key: str | None = None,
    crop_coord: Region | None = None,
    crop_unit: str = "um",
    coordinate_system: str | None = None,
    over: bool = True,
    he: str = "grey",
    value_range: tuple[float, float] | None = None,
    cmap: str | Colormap | None = None,
    dark: bool = False,
    ax: Sequence[Axes] | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw a gene as it was measured, as it was predicted, and one against the other.

    Both are in log(1 + counts per 10,000), made as by ``tl.evaluate``, and share one colour scale. The Pearson
    correlation is that of ``tl.evaluate``: over all shapes that can be compared, also those outside `crop_coord`.
    Shapes without counts, or without a prediction, are not drawn.

    Parameters
    ----------
    sdata
        The object that holds the tables, their shapes and the image.
    gene
        A gene that both tables hold.
    predicted_key
        The table that was predicted for the same shapes.
    measured_key
        The table with raw counts.
    shapes_key
        The shapes; may be left out when both tables annotate only one element.
    layer
        The layer of the measured table with raw counts; by default X.
    unit
        What the prediction holds: ``"counts"``, ``"counts/um2"`` or ``"log1p"``. Tables of this package state it.
    image_key
        The H&E image; may be left out when there is one.
    crop_coord
        What to show: ``(x0, y0, x1, y1)``, counted from the image's upper left corner in `crop_unit`, or the key of
        shapes to show the surroundings of. By default the surroundings of the shapes.
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
        A colour map of matplotlib; by default magma.
    dark
        Light text on a dark figure.
    ax
        Three axes to draw into. In a figure with ``layout="constrained"`` nothing overlaps.
    show
        Show the figure. By default only where it is new and the session is interactive.
    save
        File to save the figure to.

    Returns
    -------
    The axes: measured, predicted, scatter.

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
    pair = read_profiles(sdata, gene, predicted_key, measured_key, shapes_key, layer, unit)
    shapes, image, theme = pair.shapes_key, elements.find_image_key(sdata, image_key), theme_of(dark)
    view = find_view(sdata, image, shapes if crop_coord is None else crop_coord, crop_unit, coordinate_system)
    panels = picture_panels(3, view.aspect, ax=ax, ncols=3, beside_in=COLOUR_BAR_IN, theme=theme)
    below = read_backdrop(sdata, view, Backdrop(over, he, value_range), panels[0], theme)
    placed, rows = visible_shapes(sdata, shapes, view, coordinate_system)
    style = shared_scale(pair, cmap, theme)
    for panel, word, values in zip(panels, ("measured", "predicted"), (pair.measured, pair.predicted), strict=False):
        draw_panel(panel, view, below, placed, Numbers(values[rows], UNIT), f"{gene} {word}", style)
    draw_scatter(panels[2], pair, theme)
    axes = [panel.ax for panel in panels]
    finish_figure(axes, new=ax is None, show=show, save=save)
    return axes


def shared_scale(pair: Profiles, cmap: str | Colormap | None, theme: Theme) -> Style:
    # Logs of counts per 10,000 do not begin at 0: a scale that does would show one colour.
    both = np.concatenate([pair.measured, pair.predicted])
    return Style(cmap, "p1", "p99", None, 0.85, None, 0.0, theme, common=both)


def draw_scatter(panel: Panel, pair: Profiles, theme: Theme) -> None:
    """Each point a shape; the line is where both are equal."""
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
