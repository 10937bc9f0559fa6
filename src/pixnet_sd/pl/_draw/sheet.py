"""Figures of a report, as JPEG in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from spatialdata import SpatialData

from pixnet_sd._sdata import affine
from pixnet_sd.pl._draw.backdrop import Backdrop, draw_backdrop, place_image, read_backdrop
from pixnet_sd.pl._draw.canvas import Panel, picture_panels
from pixnet_sd.pl._draw.furniture import draw_frame, draw_legend
from pixnet_sd.pl._draw.theme import LIGHT
from pixnet_sd.pl._draw.view import MapView

DPI, QUALITY = 110, 82
WIDTH_IN = 9.0
MOST_PX = 1500
"""Longer side of labels that are drawn; a report shows no more."""
COLORS = {"none": "#d9d9d9", "blurred": "#0072b2", "fold": "#7a0177", "pen": "#d55e00", "gray": "#333333"}
"""Of artifacts: apart also for those who do not see red or green."""

Draw = Callable[[list[Axes]], Any]


def draw_sheet(count: int, ncols: int, aspect: float, draw: Draw) -> bytes:
    """Draw panels of one aspect (height over width) and return the picture."""
    columns = min(count, ncols)
    rows = -(-count // columns)
    width = WIDTH_IN / columns
    figure = Figure(figsize=(WIDTH_IN, rows * (width * 0.8 * min(aspect, 1.6) + 0.5)), layout="constrained")
    FigureCanvasAgg(figure)
    draw([figure.add_subplot(rows, columns, place + 1) for place in range(count)])
    stream = BytesIO()
    figure.savefig(stream, format="jpeg", dpi=DPI, pil_kwargs={"quality": QUALITY})
    return stream.getvalue()


def draw_he(sdata: SpatialData, view: MapView, backdrop: Backdrop, ax: Axes, title: str) -> Panel:
    (panel,) = picture_panels(1, view.aspect, ax=ax, ncols=1, beside_in=0, theme=LIGHT)
    draw_backdrop(ax, read_backdrop(sdata, view, backdrop, panel, LIGHT))
    draw_frame(panel, view, LIGHT, title)
    return panel


def draw_labels(ax: Axes, codes: np.ndarray, to_image: np.ndarray, colors: Sequence[str], alpha: float) -> None:
    """Draw classes of a raster over an image; negative ones are left out."""
    step = max(1, -(-max(codes.shape) // MOST_PX))
    thinned = np.ma.masked_less(codes[::step, ::step], 0)
    matrix = to_image @ np.diag([step, step, 1.0])
    limits = {"vmin": -0.5, "vmax": len(colors) - 0.5, "interpolation": "nearest"}
    place_image(ax, thinned, matrix, cmap=ListedColormap(list(colors)), alpha=alpha, **limits)


def draw_quality(sdata: SpatialData, view: MapView, labels_key: str, backdrop: Backdrop, ax: Axes) -> None:
    """Color tiles by their artifact."""
    panel = draw_he(sdata, view, backdrop, ax, "artifacts")
    names = list(COLORS)
    artifact = sdata.tables[f"{labels_key}_tiles"].obs["artifact"].astype(str)
    codes = np.array([-1, *(names.index(name) if name != "none" else -1 for name in artifact)])
    tiles = codes[affine.finest_array(sdata.labels[labels_key]).values]
    draw_labels(ax, tiles, affine.matrix_between(sdata, labels_key, view.image_key), list(COLORS.values()), 0.7)
    draw_legend(panel, names[1:], [COLORS[name] for name in names[1:]], LIGHT)
