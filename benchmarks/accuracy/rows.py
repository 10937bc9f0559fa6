"""The rows of the table, in its order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import dense
from .baselines import graph, istar, linear, paper, stnet, triplex
from .baselines.training import row as trained
from .protocol import Fold, Prediction, Study


@dataclass(frozen=True)
class Row:
    """A method."""

    text: str
    """As the table calls it."""
    method: Callable[[Study, Fold, int], Prediction]
    seeds: int = 3
    """How many runs of each fold; 1 where nothing is random, or a run costs much."""
    control: bool = True
    """Also with shuffled labels, once."""


ROWS = {
    "mean": Row("mean of the training spots", linear.mean, seeds=1, control=False),
    "color": Row("color statistics + ridge", linear.on_color, seeds=1),
    "random": Row("random encoder + ridge", linear.on_random, seeds=1),
    "frozen": Row("frozen crop features + ridge (HEST)", linear.on_frozen, seeds=1),
    "wide": Row("the same and wide fields + ridge", linear.on_wide, seeds=1),
    "stnet": Row("ST-Net-like", trained(stnet.RECIPE), seeds=1),
    "triplex": Row("TRIPLEX-like", trained(triplex.RECIPE), seeds=1),
    "graph": Row("SGN/EGGN-like", trained(graph.RECIPE)),
    "wide_graph": Row("the same, with wide fields", trained(graph.WIDE_RECIPE)),
    "istar": Row("iStar-like", trained(istar.RECIPE)),
    "paper": Row("PixNet, the paper's recipe", paper.paper, seeds=1),
    "ridge": Row("ours, ridge", dense.ridge, seeds=1),
    "rate": Row("ours", dense.rate),
    "ensemble": Row("ours, ensemble", dense.ensemble, seeds=1),
}
OURS = ("ensemble", "rate", "ridge")
"""Others are compared with the first of these that was run."""
