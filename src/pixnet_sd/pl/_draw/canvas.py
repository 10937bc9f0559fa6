"""Figures and panels: their size, and how they are shown and saved. matplotlib only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.pl._draw.theme import Theme

SINGLE_IN, MULTIPLE_IN = 4.2, 2.6
"""Longer side of a picture in inches, alone and as one of many."""
LEAST_IN = 0.9
"""Least width, so that a narrow section has room for its title."""
ABOVE_AND_BELOW_IN = 0.6
"""For a title and a scale bar."""
Size = tuple[float, float]
READ_DPI = 200
"""Least resolution of images: that of screens with two pixels per point."""


@dataclass(frozen=True)
class Panel:
    """Axes of one picture, and its size in inches."""

    ax: Axes
    width_in: float
    height_in: float

    @property
    def width_px(self) -> float:
        return self.width_in * dots_per_inch(self.figure)

    @property
    def figure(self) -> Figure:
        return cast(Figure, self.ax.get_figure(root=True))


def dots_per_inch(figure: Figure) -> float:
    saved = mpl.rcParams["savefig.dpi"]
    return max(READ_DPI, figure.dpi, 0 if saved == "figure" else float(saved))


def picture_panels(
    count: int,
    aspect: float,
    *,
    ax: Axes | Sequence[Axes] | None,
    ncols: int,
    beside_in: float,
    theme: Theme,
    figsize: Size | None = None,
) -> list[Panel]:
    """Return panels for pictures of one aspect (height over width): the given axes, or those of a new figure."""
    check_figsize(figsize, ax)
    if ax is not None:
        return [Panel(one, *picture_size(one, aspect)) for one in given_axes(ax, count)]
    columns = max(1, min(ncols, count))
    rows = -(-count // columns)
    if figsize is None:
        longest = SINGLE_IN if count == 1 else MULTIPLE_IN
        width, height = longest * min(1, 1 / aspect), longest * min(1, aspect)
        size = columns * (max(width, LEAST_IN) + beside_in), rows * (height + ABOVE_AND_BELOW_IN)
    else:
        size = figsize
        width, height = fit_picture(size[0] / columns - beside_in, size[1] / rows - ABOVE_AND_BELOW_IN, aspect)
    figure = new_figure(size, theme)
    return [Panel(figure.add_subplot(rows, columns, place + 1), width, height) for place in range(count)]


def check_figsize(figsize: Size | None, ax: object) -> None:
    if figsize is None:
        return
    if ax is not None:
        raise PixnetValueError("figsize is the size of a new figure; the axes in ax have theirs. Give one of the two.")
    numbers = np.asarray(figsize)
    if numbers.shape != (2,) or numbers.dtype.kind not in "iuf" or not (numbers > 0).all():
        raise PixnetValueError(f"figsize must be (width, height) in inches, e.g. (8, 4); got {figsize!r}.")


def fit_picture(width: float, height: float, aspect: float) -> tuple[float, float]:
    """Return the largest picture of that aspect within a width and height."""
    width, height = max(width, LEAST_IN), max(height, LEAST_IN)
    fitting = min(width, height / aspect)
    return fitting, fitting * aspect


def panel_titles(title: str | Sequence[str] | None, names: Sequence[str]) -> list[str]:
    """Return a title for each panel: those stated, or the names of what is drawn."""
    titles = list(names) if title is None else [title] if isinstance(title, str) else list(title)
    if len(titles) != len(names):
        raise PixnetValueError(f"{len(names)} panels need as many titles; title has {len(titles)}: {titles[:5]}.")
    return titles


def given_axes(ax: Axes | Sequence[Axes], count: int) -> list[Axes]:
    axes = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
    if len(axes) != count:
        raise PixnetValueError(f"{count} panels need as many axes; ax has {len(axes)}.")
    return axes


def picture_size(ax: Axes, aspect: float) -> tuple[float, float]:
    figure = cast(Figure, ax.get_figure(root=True))
    box = ax.get_window_extent()
    width = min(box.width, box.height / aspect) / figure.dpi
    return width, width * aspect


def new_figure(size_in: tuple[float, float], theme: Theme) -> Figure:
    return plt.figure(figsize=size_in, layout="constrained", facecolor=theme.paper)


def finish_figure(axes: list[Axes], *, new: bool, show: bool | None, save: str | Path | None) -> None:
    """Save the figure if `save` is given; show it if asked, or if it is new and the session is interactive."""
    figure = cast(Figure, axes[0].get_figure(root=True))
    if save is not None:
        # Legends and color bars may extend beyond a figure that the caller made.
        figure.savefig(save, bbox_inches="tight")
    if show or (show is None and new and plt.isinteractive()):
        plt.show()


def one_or_all(axes: list[Axes], single: bool) -> Axes | list[Axes]:
    return axes[0] if single else axes
