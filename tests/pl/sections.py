"""Sections whose drawings can be told beforehand, and the colors of a drawing."""

import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from spatialdata import SpatialData

from pixnet_sd._sdata import build

SIDE_PX = 64
IDENTITY = build.make_transformations({"global": np.eye(3)})
WHITE = np.full(3, 255)


def quadrant_section(mpp: float | None = 0.5, *, missing: bool = False) -> SpatialData:
    """White H&E; gene A is 1 in the upper left quadrant, else 0, or missing; four squares and circles on it."""
    values = np.full((2, SIDE_PX, SIDE_PX), np.nan if missing else 0.0, np.float32)
    values[0, :32, :32] = 1
    x, y = np.array([0, 32, 0, 32.0]), np.array([0, 0, 32, 32.0])
    index = pd.Index(["ul", "ur", "ll", "lr"])
    white = np.full((3, SIDE_PX, SIDE_PX), 255, np.uint8)
    elements = {
        "he": build.make_image(white, ["r", "g", "b"], IDENTITY),
        "map": build.make_image(values, ["GENEA", "GENEB"], IDENTITY),
        "squares": build.make_polygons(shapely.box(x, y, x + 32, y + 32), index, IDENTITY, kind=np.array(list("kmkm"))),
        "circles": build.make_circles(np.column_stack([x, y]) + 16, 12, index, IDENTITY),
    }
    genes = pd.DataFrame(index=pd.Index(["GENEA", "GENEB"]))
    rows = np.array([[4, 1], [0, 1], [np.nan, 1], [2, 1]], np.float32)
    elements["squares_expression"] = build.make_table(rows, genes, "squares", index)
    # Rows in another order, and one fewer: they are found by instance.
    elements["circles_counts"] = build.make_table(rows[[3, 1, 0]], genes, "circles", index[[3, 1, 0]])
    facts = {"map": {"kind": "truth", "unit": "counts/um2"}}
    return build.make_section(elements, facts, {} if mpp is None else {"he": mpp})


def single(axes: Axes | list[Axes]) -> Axes:
    """One name was asked for, so one `Axes` came back, not a list."""
    assert isinstance(axes, Axes)
    return axes


def color_at(ax: Axes, x: float, y: float) -> np.ndarray:
    """RGB, 0 to 255, of what is drawn at a place in data coordinates."""
    canvas = ax.figure.canvas
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[attr-defined]
    column, row = ax.transData.transform((x, y))
    return pixels[len(pixels) - 1 - int(row), int(column), :3].astype(int)


def is_blank(ax: Axes, x: float, y: float) -> bool:
    return bool(np.abs(color_at(ax, x, y) - WHITE).max() <= 2)
