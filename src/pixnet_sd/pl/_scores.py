"""Plot of per-gene scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._keys import check_known
from pixnet_sd.pl._draw.canvas import finish_figure, new_figure
from pixnet_sd.pl._draw.colors import line_colors
from pixnet_sd.pl._draw.furniture import SMALL, style_axes
from pixnet_sd.pl._draw.theme import DARK, Theme, theme_of

Label = tuple[str, int, float]
"""Name, place and height."""
SIZE_IN = (6.4, 3.8)
BLUE = {False: "#0072B2", True: "#56B4E9"}
"""Light and dark; both of Okabe and Ito."""
CHARACTER_IN, LEADER_IN = 0.072, 0.25
"""Width of a capital letter, and of the line from a name to its gene."""
NAME_IN = 0.16
"""Height of a line of names."""


def scores(
    scores: pd.DataFrame | Mapping[str, pd.DataFrame],
    column: str = "pearson",
    *,
    n_named: int = 6,
    dark: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw ranked per-gene scores with their quartile, median and mean, and label the best and worst genes.

    Several tables are drawn as one curve each, with their medians.

    Parameters
    ----------
    scores
        Scores of genes (index), as returned by :func:`pixnet_sd.tl.evaluate`, or several such tables by name, e.g. of
        two models. Genes whose score is NaN are left out and counted.
    column
        Column to draw. First quartile, median and mean of ``"pearson"`` are called PCC@F, PCC@S and PCC@M by some.
    n_named
        Number of genes to label at each end of a single curve.
    dark
        Draw light text on a dark figure.
    ax
        Axes to draw into.
    show
        Whether to show the figure. By default, only a new figure in an interactive session.
    save
        Path to save the figure to.

    Returns
    -------
    The axes.

    Examples
    --------
    >>> import pandas as pd
    >>> import pixnet_sd as ps
    >>> frame = pd.DataFrame({"pearson": [0.6, 0.1, 0.4]}, index=["ERBB2", "ACTB", "FN1"])
    >>> ax = ps.pl.scores(frame)
    >>> ax.get_xlabel()
    '3 genes, best first'
    """
    tables, theme = scores if isinstance(scores, Mapping) else {"": scores}, theme_of(dark)
    ranked = rank_tables(tables, column)
    chosen = new_figure(SIZE_IN, theme).add_subplot() if ax is None else ax
    chosen.set(xlabel=axis_label(ranked, tables), ylabel=column.capitalize())
    style_axes(chosen, theme)
    if len(ranked) == 1:
        draw_single(chosen, next(iter(ranked.values())), n_named, theme)
    else:
        draw_several(chosen, ranked, theme)
    finish_figure([chosen], new=ax is None, show=show, save=save)
    return chosen


def check_columns(table: object, argument: str, columns: Sequence[str]) -> None:
    if not isinstance(table, pd.DataFrame):
        raise PixnetTypeError(f"{argument} must be a DataFrame; got {type(table).__name__}.")
    check_known(columns, table.columns, f"the columns of {argument}")


def rank_tables(tables: Mapping[str, pd.DataFrame], column: str) -> dict[str, pd.Series]:
    if not tables:
        raise PixnetValueError("scores is empty; give a table of scores, or several by name.")
    for name, table in tables.items():
        check_columns(table, f"scores[{name!r}]" if name else "scores", [column])
    return {str(name): rank_scores(table[column], column) for name, table in tables.items()}


def rank_scores(column: pd.Series, name: str) -> pd.Series:
    ranked = column.astype(float).dropna().sort_values(ascending=False, kind="stable")
    if ranked.empty:
        raise PixnetValueError(f"None of the {len(column)} genes has a score in column {name!r}; all are NaN.")
    return ranked


def axis_label(ranked: Mapping[str, pd.Series], tables: Mapping[str, pd.DataFrame]) -> str:
    drawn, given = (sum(map(len, some.values())) for some in (ranked, tables))
    left_out = f" ({given - drawn} without a score left out)" if given > drawn else ""
    return f"{f'{drawn:,} genes' if len(ranked) == 1 else 'genes'}, best first{left_out}"


def draw_single(ax: Axes, ranked: pd.Series, n_named: int, theme: Theme) -> None:
    """Draw a curve with its summaries and the names of its ends."""
    color = BLUE[theme is DARK]
    ax.fill_between(np.arange(1, len(ranked) + 1), ranked, color=color, alpha=0.18, linewidth=0, zorder=1)
    draw_ranked(ax, ranked, color)
    set_limits(ax, [ranked])
    label_genes(ax, ranked, mark_summaries(ax, ranked, theme), n_named, theme)


def draw_several(ax: Axes, ranked: Mapping[str, pd.Series], theme: Theme) -> None:
    """Draw a curve for each table, and a legend in the corner that falling curves leave free."""
    for (name, one), color in zip(ranked.items(), line_colors(len(ranked), theme), strict=True):
        draw_ranked(ax, one, color, label=f"{name}: median {one.median():.2f}, {len(one):,} genes")
    set_limits(ax, list(ranked.values()))
    ax.axhline(0, color=theme.faint, linewidth=0.6, zorder=2)
    ax.legend(loc="upper right", frameon=False, fontsize=SMALL, labelcolor=theme.ink)


def draw_ranked(ax: Axes, ranked: pd.Series, color: str, label: str | None = None) -> None:
    places = np.arange(1, len(ranked) + 1)
    marker = "o" if len(ranked) < 60 else ""
    ax.plot(places, ranked, color=color, linewidth=1.6, marker=marker, markersize=3, zorder=3, label=label)


def set_limits(ax: Axes, curves: Sequence[pd.Series]) -> None:
    count = max(map(len, curves))
    low, high = min(0.0, *(float(one.min()) for one in curves)), max(0.0, *(float(one.max()) for one in curves))
    margin = 0.08 * ((high - low) or 1.0)
    ax.set(xlim=(1 - 0.02 * count, count * 1.02), ylim=(low - margin, high + margin))
    ticks = MaxNLocator(5, integer=True).tick_values(1, count)
    ax.set_xticks([int(tick) for tick in ticks if 1 <= tick <= count])


def mark_summaries(ax: Axes, ranked: pd.Series, theme: Theme) -> dict[str, float]:
    """Draw lines at the quartile, median and mean; return these values by name."""
    values = {"first quartile": ranked.quantile(0.25), "median": ranked.median(), "mean": ranked.mean()}
    ax.hlines([0.0], 1, len(ranked), color=theme.faint, linewidth=0.6, zorder=2)
    ax.hlines(list(values.values()), 1, len(ranked), color=theme.faint, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
    return {f"{name} {value:.2f}": value for name, value in values.items()}


def label_genes(ax: Axes, ranked: pd.Series, summaries: dict[str, float], n_named: int, theme: Theme) -> None:
    """Write the best genes to the left of the curve; the worst to its right, among the summaries."""
    height_in = axes_height_in(ax)
    # As many names as fit above each other, without naming a gene twice.
    count = max(0, min(n_named, len(ranked) // 2, int(height_in / NAME_IN) - len(summaries)))
    last = len(ranked)
    best = [(str(name), row + 1, value) for row, (name, value) in enumerate(ranked.iloc[:count].items())]
    worst = [(str(ranked.index[-k]), last + 1 - k, ranked.iloc[-k]) for k in range(1, count + 1)]
    right = worst + [(name, last, value) for name, value in summaries.items()]
    gap = NAME_IN / height_in * float(np.ptp(ax.get_ylim()))
    leader = make_room(ax, last, best, right)
    write_column(ax, best, (1 - leader, "right"), gap, theme)
    write_column(ax, right, (last + leader, "left"), gap, theme)


def make_room(ax: Axes, count: int, left: list[Label], right: list[Label]) -> float:
    """Widen the axis so that the names of both sides fit; return the length of a leader on it."""
    rooms = [LEADER_IN + CHARACTER_IN * max((len(name) for name, _, _ in side), default=0) for side in (left, right)]
    per_inch = count / max(axes_size_in(ax)[0] - sum(rooms), 1.0)
    ax.set_xlim(1 - rooms[0] * per_inch, count + rooms[1] * per_inch)
    return LEADER_IN * per_inch


def write_column(ax: Axes, labels: list[Label], column: tuple[float, str], gap: float, theme: Theme) -> None:
    """Write names below each other, each connected to its point (x, y)."""
    low, high = ax.get_ylim()
    places = spread_apart(np.array([y for _, _, y in labels]), gap, low + gap / 2, high - gap / 2)
    for (name, x, y), place in zip(labels, places, strict=True):
        ax.annotate(
            name,
            (x, y),
            xytext=(column[0], place),
            ha=column[1],
            va="center",
            fontsize=SMALL,
            color=theme.ink,
            arrowprops={"arrowstyle": "-", "color": theme.faint, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 1},
            zorder=4,
        )


def spread_apart(values: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return positions from `low` to `high`, at least `gap` apart, with the least squared displacement."""
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    places = np.empty(len(values))
    if len(values):
        # Without the steps, "at least a gap apart" means "not decreasing", which isotonic regression solves exactly.
        spread = isotonic_regression(values[order] - steps).x
        places[order] = np.clip(spread, low, max(low, high - steps[-1])) + steps
    return places


def axes_size_in(ax: Axes) -> tuple[float, float]:
    figure = ax.get_figure(root=True)
    assert figure is not None
    extent = ax.get_window_extent()
    return extent.width / figure.dpi, extent.height / figure.dpi


def axes_height_in(ax: Axes) -> float:
    return axes_size_in(ax)[1]
