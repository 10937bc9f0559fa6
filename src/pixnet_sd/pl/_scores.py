"""Plot of per-gene scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._keys import check_known
from pixnet_sd.pl._draw.canvas import finish_figure, new_figure
from pixnet_sd.pl._draw.furniture import SMALL, style_axes
from pixnet_sd.pl._draw.theme import Theme, theme_of

SIZE_IN = (6.4, 3.8)
BLUE = {False: "#0072B2", True: "#56B4E9"}
"""Light and dark; both of Okabe and Ito."""
ROOM = 0.28
"""Room beside the curve for names, as a share of its width."""
NAME_IN = 0.16
"""Height of a line of names."""


def scores(
    scores: pd.DataFrame,
    column: str = "pearson",
    *,
    n_named: int = 6,
    dark: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw ranked per-gene scores with their quartile, median and mean, and label the best and worst genes.

    Parameters
    ----------
    scores
        Scores of genes (index), as returned by :func:`pixnet_sd.tl.evaluate`. Genes whose score is NaN are left out
        and counted in the label of the axis.
    column
        Column to draw. For ``"pearson"``, PCC@F (first quartile), PCC@S (median) and PCC@M (mean) are marked.
    n_named
        Number of genes to label at each end.
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
    check_columns(scores, "scores", [column])
    ranked, theme = rank_scores(scores[column], column), theme_of(dark)
    chosen = new_figure(SIZE_IN, theme).add_subplot() if ax is None else ax
    draw_ranked(chosen, ranked, BLUE[dark])
    chosen.set(xlabel=axis_label(len(ranked), len(scores)), ylabel=column.capitalize())
    style_axes(chosen, theme)
    summaries = mark_summaries(chosen, ranked, column == "pearson", theme)
    label_genes(chosen, ranked, summaries, n_named, theme)
    finish_figure([chosen], new=ax is None, show=show, save=save)
    return chosen


def check_columns(table: object, argument: str, columns: Sequence[str]) -> None:
    if not isinstance(table, pd.DataFrame):
        raise PixnetTypeError(
            f"{argument} must be one DataFrame; got {type(table).__name__}. Draw several by "
            "one call each, on axes of the same figure (ax=...)."
        )
    check_known(columns, table.columns, f"the columns of {argument}")


def rank_scores(column: pd.Series, name: str) -> pd.Series:
    ranked = column.astype(float).dropna().sort_values(ascending=False, kind="stable")
    if ranked.empty:
        raise PixnetValueError(f"None of the {len(column)} genes has a score in column {name!r}; all are NaN.")
    return ranked


def axis_label(drawn: int, given: int) -> str:
    left_out = f" ({given - drawn} without a score left out)" if given > drawn else ""
    return f"{drawn:,} genes, best first{left_out}"


def draw_ranked(ax: Axes, ranked: pd.Series, color: str) -> None:
    """Draw the curve, with room for names on both sides."""
    count = len(ranked)
    places = np.arange(1, count + 1)
    ax.fill_between(places, ranked, color=color, alpha=0.18, linewidth=0, zorder=1)
    ax.plot(places, ranked, color=color, linewidth=1.6, marker="o" if count < 60 else "", markersize=3, zorder=3)
    low, high = min(0.0, float(ranked.min())), max(0.0, float(ranked.max()))
    margin = 0.08 * ((high - low) or 1.0)
    ax.set(xlim=(1 - ROOM * count, count * (1 + ROOM)), ylim=(low - margin, high + margin))
    ticks = MaxNLocator(5, integer=True).tick_values(1, count)
    ax.set_xticks([int(tick) for tick in ticks if 1 <= tick <= count])


def mark_summaries(ax: Axes, ranked: pd.Series, pearson: bool, theme: Theme) -> dict[str, float]:
    """Draw lines at the quartile, median and mean; return these values by name."""
    names = ("PCC@F", "PCC@S", "PCC@M") if pearson else ("first quartile", "median", "mean")
    values = dict(zip(names, (ranked.quantile(0.25), ranked.median(), ranked.mean()), strict=True))
    ax.hlines([0.0], 1, len(ranked), color=theme.faint, linewidth=0.6, zorder=2)
    ax.hlines(list(values.values()), 1, len(ranked), color=theme.faint, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
    return {f"{name} {value:.2f}": value for name, value in values.items()}


def label_genes(ax: Axes, ranked: pd.Series, summaries: dict[str, float], n_named: int, theme: Theme) -> None:
    """Write the best genes to the left of the curve; the worst to its right, among the summaries."""
    height_in = axes_height_in(ax)
    # As many names as fit above each other, without naming a gene twice.
    count = min(n_named, len(ranked) // 2, int(height_in / NAME_IN) - len(summaries))
    last = len(ranked)
    best = [(str(name), row + 1, value) for row, (name, value) in enumerate(ranked.iloc[: max(count, 0)].items())]
    worst = [(str(ranked.index[-k]), last + 1 - k, ranked.iloc[-k]) for k in range(1, count + 1)]
    marks = [(name, last, value) for name, value in summaries.items()]
    gap = NAME_IN / height_in * float(np.ptp(ax.get_ylim()))
    write_column(ax, best, (1 - 0.09 * last, "right"), gap, theme)
    write_column(ax, worst + marks, (last * 1.09, "left"), gap, theme)


def write_column(
    ax: Axes, labels: list[tuple[str, int, float]], column: tuple[float, str], gap: float, theme: Theme
) -> None:
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


def axes_height_in(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax.get_window_extent().height / figure.dpi
