"""Plot of accuracy against the size of the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.pl._draw.canvas import finish_figure, new_figure
from pixnet_sd.pl._draw.colors import line_colors
from pixnet_sd.pl._draw.furniture import SMALL, style_axes
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._scores import NAME_IN, axes_height_in, check_columns, spread_apart

WIDTH_IN, HEIGHT_IN = 4.4, 3.6
CHARACTER_IN = 0.075
"""Width of a letter of a name."""
TICK_STEP = 0.06
"""Least distance of ticks, which are at the sizes measured, as a share of the axis."""
REQUIRED, BAND = ("method", "size_um", "pcc"), ("lower", "upper")


def scales(
    results: pd.DataFrame,
    *,
    dark: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw accuracy against the size of the shapes, one line per method, labeled at its end.

    Parameters
    ----------
    results
        One row per method and size: ``method``, ``size_um`` (side or diameter), ``pcc`` and optionally ``lower`` and
        ``upper``, the limits of a band. Rows whose ``pcc`` is NaN are not drawn.
    dark
        Draw light text on a dark figure.
    ax
        Axes to draw into. Labels are written to their right; ``layout="constrained"`` makes room for them.
    show
        Whether to show the figure. By default, only a new figure in an interactive session.
    save
        Path to save the figure to.

    Returns
    -------
    The axes, with sizes on a logarithmic scale.

    Examples
    --------
    >>> import pandas as pd
    >>> import pixnet_sd as ps
    >>> results = pd.DataFrame({"method": ["a", "a", "b", "b"], "size_um": [8, 55, 8, 55], "pcc": [0.2, 0.4, 0.1, 0.3]})
    >>> ax = ps.pl.scales(results)
    >>> [text.get_text() for text in ax.texts]
    ['a', 'b']
    """
    table, theme = select_scored(results), theme_of(dark)
    # In the order of the rows, so that colors stay the same when methods are added.
    methods = [str(name) for name in table["method"].unique()]
    width_in = WIDTH_IN + CHARACTER_IN * max(map(len, methods))
    chosen = new_figure((width_in, HEIGHT_IN), theme).add_subplot() if ax is None else ax
    style_axes(chosen, theme)
    chosen.set_xscale("log")
    curves = [table[table["method"].astype(str) == name].sort_values("size_um") for name in methods]
    colors = line_colors(len(methods), theme)
    for curve, color in zip(curves, colors, strict=True):
        draw_method(chosen, curve, color)
    label_axes(chosen, table["size_um"].unique(), theme)
    label_methods(chosen, methods, curves, colors, theme)
    finish_figure([chosen], new=ax is None, show=show, save=save)
    return chosen


def select_scored(results: pd.DataFrame) -> pd.DataFrame:
    """Check the columns and return the rows that have a score."""
    check_columns(results, "results", REQUIRED)
    if sum(name in results for name in BAND) == 1:
        raise PixnetValueError("A band needs both ends: give the columns 'lower' and 'upper', or neither.")
    table = results[results["pcc"].notna()]
    if table.empty:
        raise PixnetValueError(
            f"None of the {len(results)} rows has a number in column 'pcc'; there is nothing to draw."
        )
    if not (np.isfinite(table["size_um"]) & (table["size_um"] > 0)).all():
        raise PixnetValueError(f"Sizes must be above 0 µm and finite; found {table['size_um'].unique().tolist()}.")
    repeated = table[table.duplicated(["method", "size_um"])]
    if len(repeated):
        method, size = repeated[["method", "size_um"]].iloc[0]
        raise PixnetValueError(
            f"{len(repeated)} rows repeat a method and size, e.g. {method!r} at {size:g} µm. Average them first, e.g. "
            "results.groupby(['method', 'size_um'], as_index=False).mean()."
        )
    return table


def draw_method(ax: Axes, curve: pd.DataFrame, color: str) -> None:
    ax.plot(curve["size_um"], curve["pcc"], color=color, linewidth=1.6, marker="o", markersize=4, zorder=3)
    if set(BAND) <= set(curve):
        ax.fill_between(
            curve["size_um"], curve["lower"], curve["upper"], color=color, alpha=0.15, linewidth=0, zorder=1
        )


def label_axes(ax: Axes, sizes: np.ndarray, theme: Theme) -> None:
    ax.margins(x=0.04)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))  # an axis that began elsewhere would enlarge differences
    ticks = space_sizes(np.sort(sizes), TICK_STEP)
    ax.xaxis.set(major_locator=FixedLocator(ticks), minor_locator=NullLocator())
    ax.xaxis.set_ticklabels([f"{tick:g}" for tick in ticks])
    ax.set_xlabel("size of the shapes, µm", color=theme.ink, fontsize=SMALL)
    ax.set_ylabel("Pearson correlation", color=theme.ink, fontsize=SMALL)


def space_sizes(sizes: np.ndarray, share: float) -> list[float]:
    """Select sizes whose tick labels do not overlap on a logarithmic axis."""
    least = share * np.log(sizes[-1] / sizes[0])
    spaced = [float(sizes[0])]
    for size in map(float, sizes[1:]):
        if np.log(size / spaced[-1]) > least:
            spaced.append(size)
    return spaced


def label_methods(
    ax: Axes, methods: Sequence[str], curves: Sequence[pd.DataFrame], colors: Sequence[str], theme: Theme
) -> None:
    """Write names to the right of the axes, connected to the ends of their lines."""
    low, high = ax.get_ylim()
    gap = NAME_IN / axes_height_in(ax) * (high - low)
    ends = [(float(curve["size_um"].iloc[-1]), float(curve["pcc"].iloc[-1])) for curve in curves]
    places = spread_apart(np.array([y for _, y in ends]), gap, low, high)
    for name, end, place, color in zip(methods, ends, places, colors, strict=True):
        ax.annotate(
            name,
            end,
            xytext=(1.04, place),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=SMALL,
            color=theme.ink,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "relpos": (0, 0.5), "shrinkA": 2, "shrinkB": 3},
        )
