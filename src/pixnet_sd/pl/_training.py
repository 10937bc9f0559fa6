"""Plot of loss and validation score per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd.pl._draw.canvas import finish_figure, new_figure
from pixnet_sd.pl._draw.furniture import LARGE, style_axes
from pixnet_sd.pl._draw.theme import Theme, theme_of

SIZE_IN = (5.6, 3.4)
LOSS = {False: "#0072B2", True: "#56B4E9"}
VALIDATION = {False: "#D55E00", True: "#E69F00"}
"""Light and dark; all of Okabe and Ito."""
LINES = ("-", "--", ":", "-.")
"""Line styles of members, repeated from the fifth on."""
FEW_EPOCHS = 30
"""Number of epochs up to which points are drawn."""

Curves = Sequence[Sequence[float]]


class Trained(Protocol):
    """Object with training curves, such as a `Model`."""

    history: dict[str, list[float]]


def training(
    model: Trained,
    *,
    dark: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw loss and validation score of every ensemble member, and mark the epoch of the final weights.

    Losses are on the left axis, validation scores on the right. The final weights are those of the epoch with the best
    validation score; without validation, those of the last epoch.

    Parameters
    ----------
    model
        Model trained in epochs: its ``history`` has curves ``"loss 1"``, ``"validation 1"`` etc. for each member. Other
        curves are not drawn.
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
    The axes of the losses and, with validation, those of the validation scores.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import pixnet_sd as ps
    >>> model = SimpleNamespace(history={"loss 1": [2.0, 1.2, 0.9], "validation 1": [0.1, 0.3, 0.2]})
    >>> losses, validation = ps.pl.training(model)
    >>> losses.get_title()
    'kept: epoch 2, validation 0.300'
    """
    history, theme = check_history(model), theme_of(dark)
    losses, scores = curves_of(history, "loss"), curves_of(history, "validation")
    left = new_figure(SIZE_IN, theme).add_subplot() if ax is None else ax
    style_axes(left, theme)
    axes = [left] if not scores else [left, right_axes(left, theme)]
    draw_curves(left, losses, "loss", LOSS[dark])
    if scores:
        draw_curves(axes[1], scores, "validation, Pearson", VALIDATION[dark])
        mark_kept(axes[1], scores, VALIDATION[dark])
    left.set_xlabel("epoch", color=theme.ink)
    left.set_xticks(whole_epochs(max(map(len, losses))))
    left.set_title(describe_kept(losses, scores), color=theme.ink, fontsize=LARGE)
    finish_figure(axes, new=ax is None, show=show, save=save)
    return axes


def check_history(model: Trained) -> Mapping[str, Sequence[float]]:
    if not hasattr(model, "history"):
        raise PixnetTypeError(f"A model is needed, with its history; got {type(model).__name__}.")
    if not curves_of(model.history, "loss"):
        raise PixnetValueError(
            f"The model has no curve of its loss; its history holds {sorted(model.history) or 'nothing'}. Only "
            "networks trained in epochs have one: a ridge regression is fitted in one step. pl.model lists its scores."
        )
    return model.history


def curves_of(history: Mapping[str, Sequence[float]], kind: str) -> Curves:
    """Return the curves named `kind`, in the order of the members."""
    return [curve for name, curve in history.items() if name.split()[0] == kind and len(curve)]


def right_axes(left: Axes, theme: Theme) -> Axes:
    right = left.twinx()
    style_axes(right, theme)
    right.spines["right"].set(visible=True, color=theme.faint)
    right.spines["left"].set_visible(False)
    right.patch.set_visible(False)
    return right


def draw_curves(ax: Axes, curves: Curves, label: str, color: str) -> None:
    for number, curve in enumerate(curves):
        marker = "o" if len(curve) <= FEW_EPOCHS else ""
        epochs = np.arange(1, len(curve) + 1)
        line = LINES[number % len(LINES)]
        ax.plot(epochs, curve, color=color, linestyle=line, linewidth=1.4, marker=marker, markersize=2.5)
    ax.set_ylabel(label, color=color)


def whole_epochs(count: int) -> list[int]:
    """Return ticks at round numbers, with 1 and `count` among them."""
    ticks = MaxNLocator(7, integer=True).tick_values(1, count)
    return sorted({1, *(int(tick) for tick in ticks if 1 < tick < count * 0.95), count})


def mark_kept(ax: Axes, scores: Curves, color: str) -> None:
    """Draw a ring at each member's best epoch, on an axis that starts at 0 (no correlation)."""
    places = [kept_epoch(curve) for curve in scores]
    heights = [curve[epoch - 1] for curve, epoch in zip(scores, places, strict=True)]
    ax.scatter(places, heights, s=55, facecolor="none", edgecolor=color, linewidth=1.6, zorder=5, gid="kept")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]) if min(map(min, scores)) < 0 else 0.0)


def kept_epoch(curve: Sequence[float]) -> int:
    """Return the first of the best epochs, counted from 1."""
    # The score is NaN if no gene varies among the validation shapes.
    return int(np.argmax(np.nan_to_num(curve, nan=-np.inf))) + 1


def describe_kept(losses: Curves, scores: Curves) -> str:
    epochs = list(map(kept_epoch, scores)) if scores else list(map(len, losses))
    named = f"epoch{'s' * (len(epochs) > 1)} {', '.join(map(str, epochs))}"
    if not scores:
        return f"kept: the last, {named}; no validation"
    best = np.mean([max(curve) for curve in scores])
    return f"kept: {named}, {'mean ' * (len(epochs) > 1)}validation {best:.3f}"
