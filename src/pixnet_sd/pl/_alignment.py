"""Plot of shapes and tissue over the H&E image, to check their registration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Affine2D
from spatialdata import SpatialData

from pixnet_sd._metrics.alignment import Raster, tissue_share
from pixnet_sd._sdata import elements
from pixnet_sd._sdata.alignment import even_rows, read_shapes_in_image, read_tissue_overview
from pixnet_sd._sdata.drawing import Box
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.pl._draw.backdrop import Backdrop, HeStyle, draw_backdrop, read_backdrop
from pixnet_sd.pl._draw.canvas import MULTIPLE_IN, finish_figure, picture_panels
from pixnet_sd.pl._draw.furniture import draw_frame, draw_legend, legend_width
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.view import MapView, find_view
from pixnet_sd.pl._shapes import Style, draw_filled

NAMES = ("shapes", "tissue")
TISSUE = {False: "#D55E00", True: "#E69F00"}
"""Light and dark; both of Okabe and Ito."""
OUTLINE_PT, CROWD = 0.8, 400
"""Width of outlines, and the number of shapes above which they are drawn thinner."""
FARTHEST = 1.0
"""Shapes beside the image are drawn up to this distance, as a multiple of its sides."""


def alignment(
    sdata: SpatialData,
    shapes_key: str | None = None,
    *,
    image_key: str | None = None,
    coordinate_system: str | None = None,
    value_range: tuple[float, float] | None = None,
    he: HeStyle = "gray",
    dark: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the H&E with the outlines of its tissue and of shapes, including shapes beside the image.

    Parameters
    ----------
    sdata
        SpatialData object with the image and the shapes.
    shapes_key
        Key of the polygons or circles. Optional if the object has exactly one shapes element.
    image_key
        Key of the H&E image. Optional if the object has exactly one image.
    coordinate_system
        Coordinate system that aligns the elements. Only needed if several disagree.
    value_range
        Intensity range ``(black, white)`` of an image that is not uint8.
    he
        How to show the H&E: ``"gray"`` (inverted on a dark figure) or ``"color"``.
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

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> section = ps.datasets.breast()
    >>> ax = ps.pl.alignment(section, "spots")
    >>> ax.get_title()
    'spots: 100 % on tissue'
    """
    image, key, theme = (
        elements.find_image_key(sdata, image_key),
        elements.find_shapes_key(sdata, shapes_key),
        theme_of(dark),
    )
    geometry = read_shapes_in_image(sdata, key, image, coordinate_system)
    tissue = read_tissue_overview(sdata, image, value_range)
    view = view_of_both(find_view(sdata, image, image, "px"), geometry)
    room_in = legend_width(NAMES, MULTIPLE_IN)
    (panel,) = picture_panels(1, view.aspect, ax=ax, ncols=1, beside_in=room_in, theme=theme)
    draw_backdrop(panel.ax, read_backdrop(sdata, view, Backdrop(True, he, value_range), panel, theme))
    draw_frame(panel, view, theme, describe_shapes(key, geometry, tissue))
    draw_outline(panel.ax, tissue, TISSUE[dark])
    draw_filled(panel.ax, geometry, None, outline_style(len(geometry), theme, he))
    draw_legend(panel, NAMES, [theme.outlines[he], TISSUE[dark]], theme)
    finish_figure([panel.ax], new=ax is None, show=show, save=save)
    return panel.ax


def view_of_both(view: MapView, shapes: Shapes) -> MapView:
    """Extend the view of the image to shapes beside it, up to `FARTHEST`."""
    x0, y0, x1, y1 = view.box
    beside = FARTHEST * np.array([x1 - x0, y1 - y0])
    low = np.maximum(np.nanmin(shapes.bounds[:, :2], axis=0), -beside)
    high = np.minimum(np.nanmax(shapes.bounds[:, 2:], axis=0), [x1, y1] + beside)
    left, top, right, bottom = min(x0, low[0]), min(y0, low[1]), max(x1, high[0]), max(y1, high[1])
    return replace(view, box=Box(float(left), float(top), float(right), float(bottom)))


def describe_shapes(key: str, shapes: Shapes, tissue: Raster) -> str:
    centers = shapes.centroid[shapes.area > 0]
    return f"{key}: {100 * tissue_share(tissue, centers[even_rows(len(centers))]):.0f} % on tissue"


def outline_style(count: int, theme: Theme, he: HeStyle) -> Style:
    width = OUTLINE_PT * min(1.0, float(np.sqrt(CROWD / count)))
    return Style(None, None, None, None, 1.0, None, width, theme, he)


def draw_outline(ax: Axes, tissue: Raster, color: str) -> None:
    """Draw the border of the tissue, closed along the edges of the image."""
    # A contour is closed only if the mask is surrounded by zeros.
    mask = np.pad(tissue.values.astype(float), 1)
    if mask.any():
        # Pixel centers, one pixel to the left because of the padding.
        middles = [np.arange(side) - 0.5 for side in mask.shape[::-1]]
        drawn = ax.contour(*middles, mask, levels=[0.5], colors=[color], linewidths=1.4, zorder=3)
        drawn.set_transform(Affine2D(np.linalg.inv(tissue.from_image)) + ax.transData)
