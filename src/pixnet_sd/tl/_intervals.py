"""Prediction intervals for a table, from sections where the truth was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._keys import resolve_key
from pixnet_sd._metrics.conformal import calibrate, residual_scores
from pixnet_sd._metrics.scores import log_profile
from pixnet_sd._sdata import elements
from pixnet_sd._sdata.comparison import read_pair, to_dense, unit_of
from pixnet_sd._sdata.maps import LOG
from pixnet_sd._sdata.storage.attach import attach, check_results

LEAST_GENES = 2


@overload
def intervals(
    sdata: SpatialData,
    predicted_key: str,
    *,
    calibration: Sequence[tuple[SpatialData, str, str]],
    level: float = ...,
    confidence: float | None = ...,
    layer: str | None = ...,
    unit: str | None = ...,
    inplace: Literal[False],
) -> AnnData: ...


@overload
def intervals(
    sdata: SpatialData,
    predicted_key: str,
    *,
    calibration: Sequence[tuple[SpatialData, str, str]],
    level: float = ...,
    confidence: float | None = ...,
    layer: str | None = ...,
    unit: str | None = ...,
    inplace: Literal[True] = ...,
) -> None: ...


def intervals(
    sdata: SpatialData,
    predicted_key: str,
    *,
    calibration: Sequence[tuple[SpatialData, str, str]],
    level: float = 0.8,
    confidence: float | None = None,
    layer: str | None = None,
    unit: str | None = None,
    inplace: bool = True,
) -> AnnData | None:
    """Say between which values a measurement of each shape and gene would lie.

    Split conformal intervals, one width for each gene. The unit that must be exchangeable is the section: however many
    spots a section has, it weighs as one, and n sections allow a level of n / (n + 1) at most. What is bounded is the
    profile ``ln(1 + 1e4 y / sum of y over the predicted genes)``, which does not depend on a section's depth.

    It holds for any model, for a new section that is like those that calibrate, if none of them was trained on. It does
    not hold for a chosen region or cell type; and sections of one patient say nothing of another.

    Parameters
    ----------
    sdata
        The object with the prediction.
    predicted_key
        Expected counts, as ``tl.aggregate`` makes them.
    calibration
        Sections with a prediction by the same model and a measurement: the object, the predicted table, the measured.
    level
        Share of shapes that an interval covers.
    confidence
        By default the level holds on average over new sections. With a confidence, it is reached in so many of them.
    layer
        The layer of the measured tables with raw counts; by default X.
    unit
        What the predictions hold: ``"counts"`` or ``"counts/um2"``. Tables of this package state it.
    inplace
        Add the layers to the table. Otherwise a copy of it is returned.

    Returns
    -------
    If ``inplace=False`` the table, else None. ``layers["profile"]``, ``layers["lower"]`` and ``layers["upper"]`` hold
    the predicted profile and the ends of its interval.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sections = [ps.datasets.toy(seed, size_px=256) for seed in range(3)]
    >>> for one in sections:
    ...     ps.tl.aggregate(one, "bins_8um", raster_key="truth")
    >>> measured = [(one, "bins_8um_expression", "bins_8um_counts") for one in sections[1:]]
    >>> ps.tl.intervals(sections[0], "bins_8um_expression", calibration=measured, level=0.6)
    >>> bool((sections[0]["bins_8um_expression"].layers["upper"] >= 0).all())
    True
    """
    elements.check_sdata(sdata)
    resolve_key("tables", predicted_key, sdata.tables, "predicted_key")
    table = sdata.tables[predicted_key].copy()
    require_counts(table, predicted_key, unit)
    if inplace:
        check_results(sdata, {predicted_key: "tables"}, overwrite=True, theirs=True)
    profile = panel_profile(to_dense(table, predicted_key))
    genes = list(map(str, table.var_names))
    check_calibration(calibration)
    scores = [section_residuals(*section, genes, layer, unit) for section in calibration]
    found = calibrate(scores, level, confidence=confidence)
    table.layers["profile"] = profile
    table.layers["lower"], table.layers["upper"] = found.interval(profile, np.ones_like(profile))
    made = {"level": level, "sections": len(scores), "confidence": confidence or "on average"}
    facts = {"kind": "table", **table.uns.get("pixnet_sd", {}), "intervals": made}
    table.uns["pixnet_sd"] = facts
    if not inplace:
        return table
    attach(sdata, {predicted_key: table}, {predicted_key: facts}, overwrite=True, theirs=True)
    return None


def check_calibration(calibration: object) -> None:
    """Check for a list of (section, predicted table, measured table)."""
    listed = isinstance(calibration, list | tuple)
    if not listed or not all(isinstance(one, list | tuple) and len(one) == 3 for one in calibration):  # type: ignore[attr-defined]
        raise PixnetTypeError(
            "calibration must be a list of (section, predicted table, measured table), e.g. "
            "[(section, 'spots_expression', 'spots_counts')], with one entry for each section; got "
            f"{type(calibration).__name__}{' of other things' if listed else ''}."
        )


def section_residuals(
    sdata: SpatialData, predicted: str, measured: str, genes: Sequence[str], layer: str | None, unit: str | None
) -> np.ndarray:
    """(shapes, genes): how far measured profiles lie from predicted ones; NaN where one of them is not known."""
    pair = read_pair(sdata, predicted, measured, layer=layer, genes=genes)
    require_counts(sdata.tables[predicted], predicted, unit)
    order = [pair.genes.index(gene) for gene in genes]
    here, there = panel_profile(pair.predicted[:, order]), panel_profile(pair.counts[:, order].toarray())
    return residual_scores(there, here, np.ones_like(here))


def panel_profile(values: np.ndarray) -> np.ndarray:
    """Of the genes that are there; NaN for shapes without any."""
    totals = values.sum(axis=1)
    return log_profile(values, np.where(totals > 0, totals, np.nan)).astype(np.float32)


def require_counts(table: Any, key: str, unit: str | None) -> None:
    if unit_of(table, key, unit) == LOG:
        raise PixnetValueError(
            f"Intervals are for expected counts; table {key!r} holds log expression. Predict with a model of rates."
        )
    if table.n_vars < LEAST_GENES:
        raise PixnetValueError(
            f"Intervals are for profiles, shares of the predicted genes; table {key!r} holds {table.n_vars} gene, "
            "whose share is always 1. Predict more genes."
        )
