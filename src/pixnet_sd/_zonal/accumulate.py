"""What is kept per shape while blocks come in: how it begins, takes a block, merges, and ends. Arrays only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import suggest_names
from pixnet_sd._raster.grid import Window
from pixnet_sd._zonal.coverage import corners_of, coverage
from pixnet_sd._zonal.rings import to_offsets
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd._zonal.statistics import extreme_range, merge_spread, quantile_range, spread_range, sum_range
from pixnet_sd._zonal.threads import over_ranges

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic that blocks can be folded into, one after another."""

    kernel: Callable[..., Any]
    blank: tuple[float, ...]
    """What each of its (shapes, channels) arrays begins with."""
    merge: Callable[[Arrays, Arrays], Arrays]
    """The arrays of two disjoint sets of pixels together."""
    value: Callable[[Arrays, np.ndarray], np.ndarray]
    """A new array of results, from the arrays and the covered area; not used where nothing is covered."""
    options: tuple[float, ...] = ()
    """Further arguments of the kernel."""


def add_sums(a: Arrays, b: Arrays) -> Arrays:
    return (a[0] + b[0],)


def elementwise_minimum(a: Arrays, b: Arrays) -> Arrays:
    return (np.minimum(a[0], b[0]),)


def merge_spreads(a: Arrays, b: Arrays) -> Arrays:
    # 0 / 0 where neither has seen a pixel; what comes of it is replaced below.
    with np.errstate(invalid="ignore"):
        weight, mean, squares = merge_spread.py_func(*a, *b)
    nothing = weight == 0
    return weight, np.where(nothing, 0.0, mean), np.where(nothing, 0.0, squares)


def divide_by_coverage(arrays: Arrays, covered: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return arrays[0] / covered


def standard_deviation(arrays: Arrays, covered: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(arrays[2] / arrays[0])


STATISTICS = {
    "sum": Statistic(sum_range, (0.0,), add_sums, lambda arrays, covered: arrays[0].copy()),
    "mean": Statistic(sum_range, (0.0,), add_sums, divide_by_coverage),
    "std": Statistic(spread_range, (0.0, 0.0, 0.0), merge_spreads, standard_deviation),
    "min": Statistic(extreme_range, (np.inf,), elementwise_minimum, lambda arrays, covered: arrays[0].copy(), (1.0,)),
    "max": Statistic(extreme_range, (np.inf,), elementwise_minimum, lambda arrays, covered: -arrays[0], (-1.0,)),
}
ORDER_STATISTICS = ("quantile", "median")


class StreamingStatistic:
    """The state of a statistic of `STATISTICS`."""

    def __init__(self, n: int, n_channels: int, statistic: str) -> None:
        self.name, self.n_channels = statistic, n_channels
        self.area = np.zeros(n)
        self.flawed = np.zeros(n, bool)
        # Memory that is never written to is never taken, so without NaN this one is free.
        self.missing = np.zeros((n, n_channels))
        self.arrays: Arrays = tuple(
            np.full((n, n_channels), value) if value else np.zeros((n, n_channels))
            for value in STATISTICS[statistic].blank
        )

    @property
    def statistic(self) -> Statistic:
        return STATISTICS[self.name]

    def add(self, shapes: Shapes, rows: np.ndarray, window: Window, flat: np.ndarray) -> None:
        state = self.area, self.missing, self.flawed, *self.arrays
        where = shapes.geometry, rows, corners_of(window)
        over_ranges(self.statistic.kernel, len(rows), *where, flat, *state, *self.statistic.options)

    def merge(self, other: StreamingStatistic, rows: np.ndarray) -> None:
        """Fold in a state whose shapes are `rows` of these."""
        self.area[rows] += other.area
        flawed = rows[other.flawed]
        self.missing[flawed] += other.missing[other.flawed]
        self.flawed[flawed] = True
        merged = self.statistic.merge(tuple(array[rows] for array in self.arrays), other.arrays)
        for array, part in zip(self.arrays, merged, strict=True):
            array[rows] = part

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        covered = self.covered()
        values = self.statistic.value(self.arrays, covered)
        return mask_uncovered(values, covered), covered

    def covered(self) -> np.ndarray:
        """Compute covered areas: (n, 1) if the channels share their NaN, else (n, channels)."""
        rows = np.flatnonzero(self.flawed)
        missing = self.missing[rows]
        shared = bool((missing == missing[:, :1]).all())
        covered = self.area[:, None].copy() if shared else np.repeat(self.area[:, None], self.missing.shape[1], 1)
        covered[rows] -= missing[:, : covered.shape[1]]
        return covered


class ExactStatistic:
    """The state of a quantile: every covered pixel's value and weight, since no summary of fixed size is exact."""

    def __init__(self, n: int, n_channels: int, quantile: float) -> None:
        if not 0 <= quantile <= 1:
            raise PixnetValueError(f"A quantile lies between 0 and 1; got {quantile}.")
        self.n, self.n_channels, self.quantile = n, n_channels, quantile
        self.parts: list[Arrays] = []

    def add(self, shapes: Shapes, rows: np.ndarray, window: Window, flat: np.ndarray) -> None:
        covered = coverage(shapes.take(rows), window)
        owner = np.repeat(rows, np.diff(covered.indptr))
        self.parts.append((owner, covered.data, flat[:, covered.indices]))

    def merge(self, other: ExactStatistic, rows: np.ndarray) -> None:
        """Fold in a state whose shapes are `rows` of these."""
        self.parts += [(rows[owner], weights, values) for owner, weights, values in other.parts]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        nobody = np.empty(0, np.int64), np.empty(0), np.empty((self.n_channels, 0))
        owner, weights, values = (np.concatenate(pieces, -1) for pieces in zip(*(self.parts or [nobody]), strict=True))
        order = np.argsort(owner, kind="stable")
        start = to_offsets(np.bincount(owner, minlength=self.n))
        out, covered = np.empty((self.n, self.n_channels)), np.empty((self.n, self.n_channels))
        arrays = start, values[:, order], weights[order], self.quantile, out, covered
        over_ranges(quantile_range, self.n, *arrays)
        return out, merge_equal_columns(covered)


State = StreamingStatistic | ExactStatistic


def new_state(n: int, n_channels: int, statistic: str, quantile: float) -> State:
    if statistic in STATISTICS:
        return StreamingStatistic(n, n_channels, statistic)
    if statistic in ORDER_STATISTICS:
        return ExactStatistic(n, n_channels, 0.5 if statistic == "median" else quantile)
    known = [*STATISTICS, *ORDER_STATISTICS]
    raise PixnetValueError(
        f"Unknown statistic {statistic!r}; choose one of {', '.join(known)}.{suggest_names(statistic, known)}"
    )


def mask_uncovered(values: np.ndarray, covered: np.ndarray) -> np.ndarray:
    if covered.shape[1] < values.shape[1]:
        # Negated, so that NaN counts as uncovered.
        values[~(covered[:, 0] > 0)] = np.nan
    else:
        values[~(covered > 0)] = np.nan
    return values


def merge_equal_columns(covered: np.ndarray) -> np.ndarray:
    """Keep one column if all are the same."""
    return covered[:, :1].copy() if (covered == covered[:, :1]).all() else covered
