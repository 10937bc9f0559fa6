"""Title, scale bar, color bar and legend, all outside the data. matplotlib only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pixnet_sd.pl._draw.canvas import Panel
from pixnet_sd.pl._draw.theme import Theme
from pixnet_sd.pl._draw.view import MapView

SMALL, LARGE = 8, 10
"""Font sizes in points."""
GAP_IN, BAR_IN = 0.07, 0.11
BAR_SHARE = 0.3
"""Longest scale bar, as a share of the picture's width."""
LINE_IN = 0.165
"""Height of a line of a legend."""
COLOR_BAR_IN = 0.85
"""Width of a color bar with its numbers and unit."""


def draw_frame(panel: Panel, view: MapView, theme: Theme, title: str) -> None:
    """Set up axes in pixels of the image's finest level, y down, with a title and a scale bar."""
    ax, box = panel.ax, view.box
    ax.set(xlim=(box.x0, box.x1), ylim=(box.y1, box.y0), xticks=[], yticks=[], aspect="equal")
    ax.set_facecolor(theme.paper)
    ax.set_title(title, color=theme.ink, fontsize=LARGE)
    for spine in ax.spines.values():
        spine.set(color=theme.faint, linewidth=0.5)
    draw_scale_bar(panel, view, theme)


def draw_scale_bar(panel: Panel, view: MapView, theme: Theme) -> None:
    """Draw a bar of round length below the picture, in µm, or in pixels where µm per pixel are unknown."""
    unit_px = 1.0 if view.mpp is None else 1 / view.mpp
    length = round_length(view.box.width * BAR_SHARE / unit_px)
    below, thick = -GAP_IN / panel.height_in, 0.03 / panel.height_in
    ax = panel.ax
    across = ax.get_xaxis_transform()
    bar = Rectangle((view.box.x0, below - thick), length * unit_px, thick, transform=across, clip_on=False)
    bar.set(facecolor=theme.ink, edgecolor="none", gid="scale_bar")
    ax.add_artist(bar)
    place = view.box.x0 + length * unit_px, below - thick / 2
    ax.annotate(
        length_label(length, "px" if view.mpp is None else "µm"),
        place,
        xycoords=across,
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        ha="left",
        fontsize=SMALL,
        color=theme.ink,
        annotation_clip=False,
        gid="scale_bar_label",
    )


def round_length(longest: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is at most `longest`."""
    # The tolerance keeps lengths that are exactly 1, 2 or 5 from being rounded down.
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(step for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9)) * power)


def length_label(length: float, unit: str) -> str:
    return f"{length / 1000:g} mm" if unit == "µm" and length >= 1000 else f"{length:g} {unit}"


def draw_color_bar(panel: Panel, colors: ScalarMappable, unit: str, theme: Theme) -> None:
    """Draw a color bar beside the picture; its ends are pointed if values are beyond the limits."""
    place = (1 + GAP_IN / panel.width_in, 0, BAR_IN / panel.width_in, 1)
    beside = panel.ax.inset_axes(place, facecolor=theme.paper)
    bar = panel.figure.colorbar(colors, cax=beside, extend=extend_ends(colors))
    # matplotlib draws the pointed ends of color bars without antialiasing.
    for point in beside.patches:
        point.set_antialiased(True)
    most = max(2, int(panel.height_in / 0.5))
    bar.locator, bar.formatter = MaxNLocator(most, min_n_ticks=2), FuncFormatter(lambda value, _: f"{value:g}")
    bar.update_ticks()
    bar.set_label(unit, color=theme.ink, fontsize=SMALL)
    bar.outline.set(edgecolor=theme.faint, linewidth=0.5)
    beside.tick_params(colors=theme.ink, labelsize=SMALL, width=0.5, length=2)


def extend_ends(colors: ScalarMappable) -> str:
    shown: np.ndarray = np.ma.masked_invalid(np.ma.asarray(colors.get_array())).compressed()
    below, above = (shown < colors.norm.vmin).any(), (shown > colors.norm.vmax).any()
    return ("both" if below else "max") if above else ("min" if below else "neither")


def draw_legend(panel: Panel, names: Sequence[str], colors: Sequence[str], theme: Theme) -> None:
    """Draw a legend beside the picture, in as many columns as its height needs."""
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=6, markeredgewidth=0, color=color, label=name)
        for name, color in zip(names, colors, strict=True)
    ]
    panel.ax.legend(
        handles=handles,
        ncols=legend_columns(len(names), panel.height_in),
        loc="upper left",
        bbox_to_anchor=(1 + GAP_IN / panel.width_in, 1),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=SMALL,
        labelcolor=theme.ink,
        handletextpad=0.3,
        handlelength=1,
        columnspacing=0.8,
    )


def legend_columns(count: int, height_in: float) -> int:
    return -(-count // max(1, int(height_in / LINE_IN)))


def legend_width(names: Sequence[str], height_in: float) -> float:
    """Return the width in inches that a legend needs."""
    longest = max((len(name) for name in names), default=0)
    return 0.2 + legend_columns(len(names), height_in) * (0.25 + 0.075 * longest)


def say_nothing_here(panel: Panel, theme: Theme) -> None:
    """Write that no value is known in the picture, instead of a color bar over nothing."""
    panel.ax.text(
        *(0.5, 0.5, "no value here"),
        transform=panel.ax.transAxes,
        ha="center",
        va="center",
        fontsize=LARGE,
        color=theme.ink,
        bbox={"facecolor": theme.paper, "edgecolor": theme.faint, "linewidth": 0.5, "boxstyle": "round,pad=0.4"},
        zorder=5,
    )


def style_axes(ax: Axes, theme: Theme) -> None:
    """Style the axes of a diagram."""
    ax.set_facecolor(theme.paper)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(theme.faint)
    ax.tick_params(colors=theme.ink, labelsize=SMALL)
    for label in (ax.xaxis.label, ax.yaxis.label, ax.title):
        label.set(color=theme.ink, fontsize=SMALL)


WRITTEN = {
    "counts/um2": "expected counts per µm²",
    "counts": "expected counts",
    "log1p": "log(1 + expression)",
    "normalized": "normalized counts",
    None: "",
}


def format_unit(unit: str | None) -> str:
    return WRITTEN.get(unit, str(unit))
