"""Measured and predicted profile of a gene, as scored by `tl.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from spatialdata import SpatialData

from pixnet_sd._keys import check_known, resolve_key
from pixnet_sd._metrics.scores import log_profile, score_genes
from pixnet_sd._sdata import comparison, counts, elements
from pixnet_sd._sdata.comparison import Pair, read_pair


@dataclass(frozen=True)
class Profiles:
    """A gene in log(1 + counts per 10,000) for each shape; NaN where counts or prediction are missing."""

    shapes_key: str
    measured: np.ndarray
    predicted: np.ndarray

    @property
    def compared(self) -> np.ndarray:
        return np.isfinite(self.measured) & np.isfinite(self.predicted)

    @property
    def pearson(self) -> float:
        """Compute the correlation: NaN if the measured gene does not vary, 0 if only the prediction does not."""
        measured, predicted = self.measured[self.compared, None], self.predicted[self.compared, None]
        if not len(measured):
            return float("nan")
        return float(score_genes(predicted, measured)["pearson"].iloc[0])


def read_profiles(
    sdata: SpatialData,
    gene: str,
    predicted_key: str,
    measured_key: str,
    shapes_key: str | None,
    layer: str | None,
    unit: str | None,
) -> Profiles:
    """Read a gene from both tables, for every shape of the element that both annotate."""
    elements.check_sdata(sdata)
    for argument, key in (("predicted_key", predicted_key), ("measured_key", measured_key)):
        resolve_key("tables", key, sdata.tables, argument)
        check_known([gene], sdata.tables[key].var_names, f"table {key!r}")
    pair = read_pair(sdata, predicted_key, measured_key, shapes_key, layer=layer, genes=[gene])
    stated = comparison.unit_of(sdata.tables[predicted_key], predicted_key, unit)
    kept = np.logical_and(*comparison.have_profiles(pair, stated))
    rows = rows_of_both(sdata, pair.shapes_key, predicted_key, measured_key)[kept]
    found = np.full((2, len(sdata.shapes[pair.shapes_key])), np.nan)
    found[:, rows] = compute_profiles(pair.of_shapes(kept), gene, stated)
    return Profiles(pair.shapes_key, *found)


def rows_of_both(sdata: SpatialData, shapes_key: str, one: str, other: str) -> np.ndarray:
    """Return the positions of shapes that both tables contain, ascending, as in a `Pair`."""
    here, there = (
        counts.find_positions(
            sdata.shapes[shapes_key], shapes_key, counts.annotating_rows(sdata.tables[key], key, shapes_key)[1], key
        )
        for key in (one, other)
    )
    return np.intersect1d(here, there)


def compute_profiles(pair: Pair, gene: str, unit: str) -> np.ndarray:
    """Return (2, shapes) log profiles: measured over the total of all genes, predicted on the same scale."""
    if not len(pair.totals):
        return np.empty((2, 0))
    column = [pair.genes.index(gene)]
    totals, values, own = comparison.on_one_scale(pair, unit)
    measured, predicted = log_profile(pair.counts[:, column].toarray(), totals), values[:, column]
    return np.hstack([measured, predicted if own is None else log_profile(predicted, own)]).T
