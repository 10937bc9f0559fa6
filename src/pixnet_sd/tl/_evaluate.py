"""Compare a predicted table with a measured one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd import _scores
from pixnet_sd._errors import PixnetValueError, PixnetWarning
from pixnet_sd._log import logger
from pixnet_sd._sdata.comparison import check_unit, have_profiles, own_totals, share_of_counts
from pixnet_sd._sdata.counts import asked_genes
from pixnet_sd._sdata.maps import LOG
from pixnet_sd._sdata.pairs import Pair, read_pair

LEAST_SHAPES = 3
SMALL_SHARE = 0.1
"""Of all counts. Genes with less say little of a shape's total."""


def evaluate(
    sdata: SpatialData,
    predicted_table: str,
    measured_table: str,
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
      target would depend on the model, and be easier: a mean of neighbouring spots scored 0.02 to 0.03 better.

    Errors have a floor by sampling noise as correlations have a ceiling, and a high one where shapes have few counts.

    Parameters
    ----------
    sdata
        The object that holds both tables.
    predicted_table
        For example the result of ``tl.aggregate``.
    measured_table
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
    One row per gene: ``pearson``, ``spearman``, ``mse``, ``mae``, ``mean_count`` and, on request, ``ceiling`` and
    ``share_of_ceiling``. Correlations are NaN where the measured gene does not vary, and 0 where only the prediction
    does not. ``.attrs`` sums up: ``PCC@F``, ``PCC@S``, ``PCC@M`` (first quartile, median and mean of ``pearson``
    without NaN), ``best_50`` (mean of the 50 best genes), how many shapes and genes were compared or left out and, on
    request, the mean ceiling and the share of it that was reached. Shapes without counts, and those for which a gene
    was predicted as NaN or all expected counts as 0, are left out.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> ps.tl.aggregate(sdata, "bins_8um", image_key="truth")
    >>> scores = ps.tl.evaluate(sdata, "bins_8um_expression", "bins_8um_counts")
    >>> bool(scores.attrs["PCC@M"] > 0.4)
    True
    """
    chosen = asked_genes(genes)
    pair = read_pair(sdata, predicted_table, measured_table, shapes_key, layer=layer, genes=chosen or ())
    unit = check_unit(unit or pair.unit, predicted_table)
    compared = pair.of_shapes(usable(pair, unit))
    columns = pd.Index(pair.genes).get_indexer(pd.Index(chosen or pair.genes))
    totals = own_totals(compared, unit)
    warn_if_few_counts(compared, unit)
    scores = score(compared, columns, totals)
    if ceiling:
        scores["ceiling"] = _scores.noise_ceiling(compared.counts[:, columns], compared.totals, seed=seed)
        scores["share_of_ceiling"] = _scores.share_of_ceiling(scores["pearson"], scores["ceiling"])
    scores.attrs = summary(scores, compared, len(pair.totals), unit)
    report(scores.attrs)
    return scores


def usable(pair: Pair, unit: str) -> np.ndarray:
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


def warn_if_few_counts(pair: Pair, unit: str) -> None:
    share = share_of_counts(pair)
    if unit != LOG and share < SMALL_SHARE:
        warnings.warn(
            f"The {len(pair.genes)} genes that both tables have make up {share:.1%} of all counts, so the total of a "
            "predicted profile is known badly. Predict more genes for a fair score.",
            PixnetWarning,
            stacklevel=3,
        )


def score(pair: Pair, columns: np.ndarray, own: np.ndarray | None) -> pd.DataFrame:
    """One row per gene; dense only for a block of genes at a time."""
    counts, tables = pair.counts.tocsc(), []
    for block in _scores.blocks(len(pair.totals), len(columns)):
        measured, predicted = counts[:, columns[block]].toarray(), pair.predicted[:, columns[block]]
        profile = predicted if own is None else _scores.log_profile(predicted, own)
        table = _scores.score_genes(profile, _scores.log_profile(measured, pair.totals))
        tables.append(table.assign(mean_count=measured.mean(axis=0)))
    names = pd.Index([pair.genes[column] for column in columns], name="gene")
    return pd.concat(tables).set_index(names)


def summary(scores: pd.DataFrame, pair: Pair, shapes_in_common: int, unit: str) -> dict[str, Any]:
    """Plain numbers and strings, which any file format takes."""
    pearson = scores["pearson"].to_numpy()
    found = {
        **_scores.quartiles(pearson),
        f"best_{_scores.BEST}": _scores.best_mean(pearson),
        "unit": unit,
        "n_shapes": len(pair.totals),
        "n_shapes_left_out": shapes_in_common - len(pair.totals),
        "n_rows_unmatched": pair.rows_unmatched,
        "n_genes": len(scores),
        "n_genes_not_varying": int(np.isnan(pearson).sum()),
        "n_genes_missing": pair.genes_missing,
        "share_of_counts": share_of_counts(pair),
    }
    if "ceiling" in scores:
        both = scores[["pearson", "ceiling"]].dropna()
        found["ceiling"] = float(both["ceiling"].mean())
        found["share_of_ceiling"] = float(both["pearson"].mean() / both["ceiling"].mean())
    return found


def report(found: dict[str, Any]) -> None:
    quality = ", ".join(f"{name} {found[name]:.3f}" for name in ("PCC@F", "PCC@S", "PCC@M"))
    logger.info("%s over %d genes and %d shapes", quality, found["n_genes"], found["n_shapes"])
    left_out = {
        "shapes without counts or without a prediction": found["n_shapes_left_out"],
        "rows whose shape the other table does not have": found["n_rows_unmatched"],
        "predicted genes that were not measured": found["n_genes_missing"],
        "genes that do not vary in the measurement": found["n_genes_not_varying"],
    }
    if any(left_out.values()):
        logger.info("left out: %s", "; ".join(f"{number} {what}" for what, number in left_out.items() if number))
