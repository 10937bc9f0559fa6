"""The protocol: which spots are learnt from, which genes are predicted, what a prediction is, how it is scored.

One section is left out in turn. Genes: the 250 with the highest mean count per 10,000 over the training spots. Target:
ln(1 + 1e4 y / total) with the total over all genes, and Pearson residuals, from which depth is removed; nothing is
smoothed. Scores are those of `ps.tl.evaluate`, as the section lies and as the mean over its eight views: sections of
one block lie alike on their slides, and those of a user do not. Settings are chosen by the mean over views.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._metrics.scores import PER, log_profile, standardize_columns
from pixnet_sd._sdata import build

from .data import SOURCES, Source

GENES = 250
TABLE, PREDICTED = "spots_counts", "predicted"


@dataclass(frozen=True, eq=False)
class Section:
    """One section, in memory."""

    name: str
    sdata: SpatialData

    @property
    def table(self) -> Any:
        return self.sdata.tables[TABLE]

    @cached_property
    def counts(self) -> sp.csr_array:
        """(spots, all genes), raw."""
        return sp.csr_array(self.table.X)

    @cached_property
    def totals(self) -> np.ndarray:
        return np.asarray(self.counts.sum(axis=1)).ravel().astype(float)

    @cached_property
    def centers_um(self) -> np.ndarray:
        """(spots, 2)."""
        return np.asarray(self.table.obsm["spatial"])

    def profiles(self, genes: tuple[str, ...]) -> np.ndarray:
        """(spots, genes) log expression."""
        columns = self.table.var_names.get_indexer(pd.Index(genes))
        return log_profile(self.counts[:, columns].toarray(), self.totals)


@dataclass(frozen=True)
class Study:
    """A data set, and the folder for everything that is computed from it."""

    data: str
    folder: Path

    @property
    def source(self) -> Source:
        return SOURCES[self.data]

    def section(self, name: str) -> Section:
        return read_section(self.data, name)

    def folds(self) -> list[Fold]:
        return [self.fold(name) for name in self.source.sections]

    def fold(self, test: str) -> Fold:
        training = tuple(name for name in self.source.sections if name != test)
        return Fold(test, training, highest_genes([self.section(name) for name in self.source.sections], training))


@lru_cache
def read_section(data: str, name: str) -> Section:
    return Section(name, SOURCES[data].read(name))


def highest_genes(sections: list[Section], training: tuple[str, ...]) -> tuple[str, ...]:
    """Of those that were measured everywhere, the highest on the training sections."""
    shared = sections[0].table.var_names
    for section in sections[1:]:
        shared = shared.intersection(section.table.var_names, sort=False)
    sums, spots = np.zeros(len(shared)), 0
    for section in sections:
        if section.name in training:
            columns = section.table.var_names.get_indexer(shared)
            sums += (1 / section.totals) @ section.counts[:, columns] * PER
            spots += len(section.totals)
    return tuple(map(str, shared[np.argsort(-sums / spots, kind="stable")[:GENES]]))


@dataclass(frozen=True)
class Fold:
    """One section to predict, and the others to learn from."""

    test: str
    training: tuple[str, ...]
    genes: tuple[str, ...]
    shuffled: bool = False
    """The control: within each training section, every spot has the counts of another one."""

    @property
    def name(self) -> str:
        return self.test + ("-shuffled" if self.shuffled else "")

    def control(self) -> Fold:
        return replace(self, shuffled=True)

    def inner(self) -> Fold:
        """The first training section is predicted from the others: what settings are chosen by."""
        return replace(self, test=self.training[0], training=self.training[1:])

    def order(self, section: Section) -> np.ndarray:
        """Which spot's counts each spot of a training section has."""
        spots = np.arange(len(section.totals))
        return np.random.default_rng(0).permutation(spots) if self.shuffled else spots

    def target(self, section: Section) -> np.ndarray:
        """(spots, genes) log expression of a training section."""
        return section.profiles(self.genes)[self.order(section)]

    def labelled(self, section: Section) -> SpatialData:
        """A training section as `ps.tl.train` takes it."""
        if not self.shuffled:
            return section.sdata
        elements = {**section.sdata.images, **section.sdata.shapes, **section.sdata.tables}
        mixed = SpatialData.init_from_elements(elements, attrs=section.sdata.attrs)
        table = section.table.copy()
        table.X = section.counts[self.order(section)]
        mixed.tables[TABLE] = table
        return mixed


@dataclass(frozen=True)
class Prediction:
    """What a method says of the left-out section."""

    values: np.ndarray
    """(views, spots, genes) of the fold: the section in each way that it may lie; one where that changes nothing."""
    train_s: float
    """Seconds, with features of the training sections and with the choice of settings."""
    predict_s: float
    """Seconds, with features of the left-out section."""
    unit: str = "log1p"
    """Or "counts"."""
    chosen: dict[str, Any] = field(default_factory=dict)
    """What inner validation settled on."""


def one_map(values: np.ndarray, unit: str) -> np.ndarray:
    """The control that logs of few counts let pass: the same map for all genes, the mean of their predicted ones."""
    logs = values if unit == "log1p" else log_profile(values, values.sum(axis=1))
    same = np.nan_to_num(standardize_columns(logs)).mean(axis=1, keepdims=True)
    return np.tile(same, (1, values.shape[1]))


def evaluate(section: Section, genes: tuple[str, ...], values: np.ndarray, unit: str) -> pd.DataFrame:
    """The package's own scores of a prediction, with the noise ceiling of every gene."""
    shapes = section.sdata.shapes["spots"]
    table = build.make_table(values.astype(np.float32), pd.DataFrame(index=list(genes)), "spots", shapes.index)
    compared = SpatialData.init_from_elements({"spots": shapes, TABLE: section.table, PREDICTED: table})
    return ps.tl.evaluate(compared, PREDICTED, TABLE, unit=unit, ceiling=True)
