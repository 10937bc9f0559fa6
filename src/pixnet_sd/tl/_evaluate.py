"""Compare a predicted table with a measured one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._metrics.scores import (
    BEST,
    LOW_CEILING,
    best_mean,
    column_blocks,
    log_profile,
    mean_of_known,
    noise_ceiling,
    panel_ceiling,
    pearson_residuals,
    quartiles,
    score_genes,
    score_residuals,
    share_of_ceiling,
)
from pixnet_sd._sdata.comparison import Pair, have_profiles, is_rate, on_one_scale, read_pair, share_of_counts, unit_of
from pixnet_sd._sdata.counts import asked_genes
from pixnet_sd._sdata.maps import LOG
from pixnet_sd._settings import logger

LEAST_SHAPES = 3
SMALL_SHARE = 0.1
"""Of all counts. Genes with less say little of a shape's total."""


def evaluate(
    sdata: SpatialData,
    predicted_key: str,
    measured_key: str,
    *,
    genes: Sequence[str] | None = None,
    shapes_key: str | None = None,
    layer: str | None = None,
    unit: str | None = None,
    ceiling: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Score a prediction gene by gene against raw counts of the same shapes.

    What is compared is the measured profile, ``ln(1 + 1e4 y / total)`` with the total over all genes of the measured
    table, never smoothed, and the same for every model. Rows are matched by instance id, genes by name.

    - A prediction in ``"log1p"`` is taken as it is.
    - Expected counts become a profile by a total of their own: their sum over the genes that both tables have, divided
      by the share of all measured counts that these genes have, which is one number for the section. Nothing else of
      the measurement reaches the prediction, so depth cancels and a prediction without pattern scores 0. A perfect
      prediction of all genes agrees perfectly, in rank and in error; with some of the genes, as far as their share is
      the same everywhere: for 250 genes with a third of the counts of a section of breast cancer, up to a correlation
      of 0.98, far above the ceiling by noise. Totals over the shared genes on both sides would close that gap, but the
      target would depend on the model, and be easier: a mean of neighboring spots scored 0.02 to 0.03 better. With few
      genes the loss is large; ``panel_ceiling`` says how large: what the measured counts of these genes would score.
    - Expected counts of a single gene have no profile. They are compared as rates, ln(1 + 1e4 y / mean total), where
      the depth is one number for the section and differences in depth between shapes stay in the measurement.

    Errors have a floor by sampling noise as correlations have a ceiling, and a high one where shapes have few counts.

    Parameters
    ----------
    sdata
        The object that holds both tables.
    predicted_key
        For example the result of ``tl.aggregate``.
    measured_key
        Raw counts of the same shapes.
    genes
        Genes to report; by default all that both tables have.
    shapes_key
        The shapes that both annotate; only needed where they share several.
    layer
        The layer of the measured table that holds raw counts; by default X.
    unit
        What the prediction holds: ``"counts"``, ``"counts/um2"`` or ``"log1p"``. Tables of this package state it.
    ceiling
        Add the correlation that sampling noise allows, estimated by splitting the counts in two (binomial thinning,
        Spearman-Brown). Where depth varies between shapes it is an upper bound, above what the truth itself scores.
    seed
        Of the split.

    Returns
    -------
    One row per gene: ``pearson``, ``spearman``, ``mse``, ``mae``, ``residual``, ``mean_count``, for expected counts
    ``panel_ceiling``, and on request ``ceiling``, ``share_of_ceiling`` and ``residual_ceiling``. ``residual`` is the
    Pearson correlation with the measurement's analytic Pearson residuals, from which depth is removed: logs of few
    counts follow the depth of their shape, so one map for all genes scores on them, and little on residuals.
    Correlations are NaN where the measured gene does not vary, and 0 where only the prediction does not. ``.attrs``
    sums up: ``PCC@F``, ``PCC@S``, ``PCC@M`` (first quartile, median and mean of ``pearson`` without NaN), ``best_50``
    (mean of the 50 best genes), the mean ``residual``, ``compared`` (``"profile"``, or ``"rate"`` for the expected
    counts of a single gene), the mean ``panel_ceiling``, how many shapes and genes were compared or left out and, on
    request, the mean ceilings and the share that was reached. Shapes without counts, and those for which a gene was
    predicted as NaN or all expected counts as 0, are left out.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> ps.tl.aggregate(sdata, "bins_8um", raster_key="truth")
    >>> scores = ps.tl.evaluate(sdata, "bins_8um_expression", "bins_8um_counts")
    >>> bool(scores.attrs["PCC@M"] > 0.4)
    True
    """
    chosen = asked_genes(genes)
    pair = read_pair(sdata, predicted_key, measured_key, shapes_key, layer=layer, genes=chosen or ())
    unit = unit_of(sdata.tables[predicted_key], predicted_key, unit)
    compared = pair.of_shapes(usable_shapes(pair, unit))
    columns = pd.Index(pair.genes).get_indexer(pd.Index(chosen or pair.genes))
    scores = score_blocks(compared, columns, unit)
    warn_if_few_genes(scores, compared, unit)
    if ceiling:
        require_profile(compared, unit)
        own = compared.counts[:, columns], compared.totals
        scores["ceiling"] = noise_ceiling(*own, seed=seed)
        scores["residual_ceiling"] = noise_ceiling(*own, pearson_residuals, seed=seed)
        scores["share_of_ceiling"] = share_of_ceiling(scores["pearson"], scores["ceiling"])
    scores.attrs = summarize_scores(scores, compared, len(pair.totals), unit)
    log_summary(scores.attrs)
    return scores


def usable_shapes(pair: Pair, unit: str) -> np.ndarray:
    """Which shapes can be compared: both sides have a profile."""
    measured, predicted = have_profiles(pair, unit)
    keep: np.ndarray = measured & predicted
    if keep.sum() < LEAST_SHAPES:
        raise PixnetValueError(
            f"{keep.sum()} shapes can be compared, at least {LEAST_SHAPES} are needed: the tables have "
            f"{len(keep)} shapes of {pair.shapes_key!r} in common, {(~measured).sum()} of them without counts and "
            f"{(~predicted).sum()} with NaN or only zeros in the prediction. Check that the two cover the same place."
        )
    return keep


def require_profile(pair: Pair, unit: str) -> None:
    if is_rate(pair, unit):
        raise PixnetValueError(
            f"ceiling=True was asked for one gene, {pair.genes[0]!r}, which is compared as a rate; the ceiling is "
            "known for profiles of two and more genes. Leave ceiling out, or predict more genes."
        )


def warn_if_few_genes(scores: pd.DataFrame, pair: Pair, unit: str) -> None:
    """Dividing by the sum over few genes, or over genes with few counts, takes away what they have in common."""
    if unit == LOG or is_rate(pair, unit):
        return
    share, limit = share_of_counts(pair), mean_of_known(scores["panel_ceiling"].to_numpy())
    if share < SMALL_SHARE or limit < LOW_CEILING:
        warn(
            f"The {len(pair.genes)} genes that both tables have make up {share:.1%} of all counts, and a profile is "
            f"divided by their sum: the measured counts themselves would score {limit:.2f} on average as a prediction "
            "(panel_ceiling). Predict more genes for a fair score."
        )


def score_blocks(pair: Pair, columns: np.ndarray, unit: str) -> pd.DataFrame:
    """One row per gene; dense only for a block of genes at a time."""
    totals, values, own = on_one_scale(pair, unit)
    counts, tables = pair.counts.tocsc(), []
    for block in column_blocks(len(pair.totals), len(columns)):
        measured, predicted = counts[:, columns[block]].toarray(), values[:, columns[block]]
        profile = predicted if own is None else log_profile(predicted, own)
        table = score_genes(profile, log_profile(measured, totals))
        residual = score_residuals(profile, measured, totals)
        tables.append(table.assign(residual=residual, mean_count=measured.mean(axis=0)))
    names = pd.Index([pair.genes[column] for column in columns], name="gene")
    scores = pd.concat(tables).set_index(names)
    if own is not None:
        limits = 1.0 if is_rate(pair, unit) else panel_ceiling(pair.counts, pair.totals, columns)
        scores["panel_ceiling"] = limits
    return scores


def summarize_scores(scores: pd.DataFrame, pair: Pair, shapes_in_common: int, unit: str) -> dict[str, Any]:
    """Plain numbers and strings, which any file format takes."""
    correlations = scores["pearson"].to_numpy()
    found = {
        **quartiles(correlations),
        "residual": mean_of_known(scores["residual"].to_numpy()),
        f"best_{BEST}": best_mean(correlations),
        "unit": unit,
        "compared": "rate" if is_rate(pair, unit) else "profile",
        "n_shapes": len(pair.totals),
        "n_shapes_left_out": shapes_in_common - len(pair.totals),
        "n_rows_unmatched": pair.rows_unmatched,
        "n_genes": len(scores),
        "n_genes_not_varying": int(np.isnan(correlations).sum()),
        "n_genes_missing": pair.genes_missing,
        "share_of_counts": share_of_counts(pair),
    }
    if "panel_ceiling" in scores:
        found["panel_ceiling"] = mean_of_known(scores["panel_ceiling"].to_numpy())
    if "ceiling" in scores:
        both = scores[["pearson", "ceiling"]].dropna()
        found["ceiling"] = float(both["ceiling"].mean())
        found["residual_ceiling"] = mean_of_known(scores["residual_ceiling"].to_numpy())
        found["share_of_ceiling"] = float(both["pearson"].mean() / both["ceiling"].mean())
    return found


def log_summary(found: dict[str, Any]) -> None:
    quality = ", ".join(f"{name} {found[name]:.3f}" for name in ("PCC@F", "PCC@S", "PCC@M"))
    how = ", compared as a rate: one gene has no profile" if found["compared"] == "rate" else ""
    logger.info("%s over %d genes and %d shapes%s", quality, found["n_genes"], found["n_shapes"], how)
    left_out = {
        "shapes without counts or without a prediction": found["n_shapes_left_out"],
        "rows whose shape the other table does not have": found["n_rows_unmatched"],
        "predicted genes that were not measured": found["n_genes_missing"],
        "genes that do not vary in the measurement": found["n_genes_not_varying"],
    }
    if any(left_out.values()):
        logger.info("left out: %s", "; ".join(f"{number} {what}" for what, number in left_out.items() if number))
