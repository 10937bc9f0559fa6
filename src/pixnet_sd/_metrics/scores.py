"""How well a prediction agrees with what was measured, gene by gene. numpy, scipy and pandas only.

Tables are (shapes, genes). A pair of values counts where both are numbers: what is NaN in one is left out of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import rankdata

PER = 1e4
"""Profiles are counts per ten thousand."""
FLAT = 1e-6
"""A column whose SD is below this share of its mean does not vary: single precision leaves less than that."""
BEST = 50
RELIABLE = 0.2
"""Held-out correlation from which a gene is more than a guess."""
LEAST_CEILING = 0.3
"""Below it a share of the ceiling is not given: on 200 simulated spots such ceilings stray by 0.15 (one SD)."""
LOW_CEILING = 0.9
"""Mean score of the measured counts themselves, below which a panel is too small for its scores to be read alone."""
LARGEST_LOG = 16.0
"""Of profiles; what is larger was no log."""
OVERDISPERSION = 100.0
"""Theta of Pearson residuals, whose variance is mu + mu² / theta: Lause et al. found 100 in negative controls."""
BLOCK_VALUES = 2**23
"""Dense values at a time: a million bins are compared in blocks of eight genes."""


def log_profile(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Compute ln(1 + counts per ten thousand); NaN in rows without counts, which have no profile."""
    per = np.divide(PER, totals, out=np.full(len(totals), np.nan), where=totals > 0)
    return np.log1p(counts * per[:, None])


def pearson_residuals(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Compute analytic Pearson residuals, from which depth is removed; NaN in rows without counts.

    A log profile of few counts still depends on the depth of its shape, so a map of the depth alone scores on it; here
    the expected count is the shape's total times the gene's share (Lause et al., Genome Biology 22 (2021) 258).
    """
    totals = np.where(totals > 0, totals, np.nan)
    share = np.nansum(counts, axis=0) / np.nansum(totals)
    expected = totals[:, None] * np.where(share > 0, share, np.nan)
    return (counts - expected) / np.sqrt(expected + expected**2 / OVERDISPERSION)


Scale = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From counts and totals to the values that are compared: `log_profile` or `pearson_residuals`."""


def score_genes(predicted: np.ndarray, measured: np.ndarray) -> pd.DataFrame:
    """Score each gene in a row: pearson, spearman, mse, mae.

    Correlations are NaN where the measured gene does not vary: nobody could score there. They are 0 where only the
    prediction does not vary: it was wrong to say nothing, and must not gain by falling out of the mean.
    """
    predicted, measured = mask_unpaired(predicted, measured)
    errors = predicted - measured
    silent = find_constant(predicted) & ~find_constant(measured)
    return pd.DataFrame(
        {
            "pearson": pearson_or_zero(predicted, measured),
            "spearman": np.where(silent, 0.0, spearman(predicted, measured)),
            "mse": column_means(errors**2),
            "mae": column_means(np.abs(errors)),
        }
    )


def score_residuals(profile: np.ndarray, counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Correlate a predicted log profile with the measured Pearson residuals, gene by gene."""
    # At one depth, residuals of a prediction are linear in its counts per ten thousand.
    predicted = np.expm1(np.minimum(profile, LARGEST_LOG))
    return pearson_or_zero(*mask_unpaired(predicted, pearson_residuals(counts, totals)))


def pearson_or_zero(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Compute (genes,) correlations; 0 where only the prediction does not vary."""
    silent = find_constant(predicted) & ~find_constant(measured)
    return np.where(silent, 0.0, pearson(predicted, measured))


def pearson(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compute (genes,) correlations; NaN if either does not vary."""
    one, other = mask_unpaired(one, other)
    # Rounding may give 1.0000000000000002.
    return np.clip(column_means(standardize_columns(one) * standardize_columns(other)), -1.0, 1.0)


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compute (genes,) correlations of ranks, ties at their mean rank; NaN if either does not vary."""
    one, other = mask_unpaired(one, other)
    return pearson(rank_columns(one), rank_columns(other))


def mask_unpaired(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    missing = np.isnan(one) | np.isnan(other)
    return np.where(missing, np.nan, one).astype(float), np.where(missing, np.nan, other).astype(float)


def rank_columns(values: np.ndarray) -> np.ndarray:
    return np.where(find_constant(values), np.nan, rankdata(values, axis=0, nan_policy="omit"))


def standardize_columns(values: np.ndarray) -> np.ndarray:
    """Scale columns to mean 0 and SD 1; NaN if a column does not vary."""
    mean, spread = column_moments(values)
    return (values - mean) / np.where(find_constant(values), np.nan, spread)


def find_constant(values: np.ndarray) -> np.ndarray:
    """Find columns that vary by no more than rounding; those without numbers count as constant."""
    mean, spread = column_moments(values)
    # Negated, because the comparison is False for NaN, the spread of a column without numbers.
    return ~(spread > FLAT * np.abs(mean))


def column_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = column_means(values)
    # In two passes: the mean of squares less the squared mean would lose all digits of a small spread.
    return mean, np.sqrt(column_means((values - mean) ** 2))


def column_means(values: np.ndarray) -> np.ndarray:
    """Average what is not NaN; NaN if nothing is left, without a warning."""
    # np.nanmean would warn of columns without numbers.
    count = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), count, out=np.full(values.shape[1], np.nan), where=count > 0)


def quartiles(correlations: np.ndarray) -> dict[str, float]:
    """Compute PCC@F, @S and @M: first quartile, median and mean over the genes with a score."""
    scored = correlations[~np.isnan(correlations)]
    if not len(scored):
        return dict.fromkeys(("PCC@F", "PCC@S", "PCC@M"), float("nan"))
    first, median = np.quantile(scored, [0.25, 0.5])
    return {"PCC@F": float(first), "PCC@S": float(median), "PCC@M": float(scored.mean())}


def best_mean(correlations: np.ndarray, n: int = BEST) -> float:
    """Mean of the n best genes, or of all where there are fewer. It picks by the score itself, so it is no estimate."""
    scored = correlations[~np.isnan(correlations)]
    return float(np.sort(scored)[-n:].mean()) if len(scored) else float("nan")


def panel_ceiling(counts: sp.csr_array, totals: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Compute (genes,) the Pearson correlation of measured counts, cut to these genes, as a prediction.

    A profile of some genes is divided by their own sum, brought to the whole by their share of all counts. Where that
    share differs between shapes, or is of a few genes that rise and fall together, even the truth scores below 1. It is
    0 for a single gene, and NaN where a gene does not vary.
    """
    own, every, found = row_sums(counts) / (counts.sum() / totals.sum()), counts.tocsc(), []
    for block in column_blocks(len(totals), len(columns)):
        values = every[:, columns[block]].toarray()
        predicted, measured = mask_unpaired(log_profile(values, own), log_profile(values, totals))
        found.append(np.where(find_constant(predicted) & ~find_constant(measured), 0.0, pearson(predicted, measured)))
    return np.concatenate(found)


def rate_totals(values: np.ndarray, counts: float, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute totals of one gene's counts and of its expected counts, at which both have the same mean.

    A single gene has no profile, so it is compared as counts at the section's mean depth.
    """
    same = np.full(len(totals), totals.mean())
    return same, same * (np.nansum(values, dtype=float) / max(counts, 1.0))


def mean_of_known(values: np.ndarray) -> float:
    """Average known values; NaN without any, and no warning."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def noise_ceiling(
    counts: sp.csr_array, totals: np.ndarray, scale: Scale = log_profile, *, repeats: int = 10, seed: int = 0
) -> np.ndarray:
    """Estimate (genes,) the Pearson correlation that sampling noise allows with the measurement, on a scale.

    Counts are split at random into halves, which are measurements of the same profile at half the depth; the
    correlation of their log profiles gives the reliability at full depth (Spearman-Brown), and the square root of a
    reliability is the correlation of the truth with the measurement. 0 where the halves do not agree, NaN where a half
    does not vary.

    It is what the truth would score where all shapes have the same depth (to 0.03 in the mean over genes), and an upper
    bound where depth varies: a log profile of few counts depends on the depth, which the halves share and a prediction
    cannot know. Counts simulated at the depths of a real section (SD 0.7 of the mean) gave the truth 0.51 and a ceiling
    of 0.59. Single low ceilings are rough.
    """
    random = np.random.default_rng(seed)
    halves = np.mean([correlation_of_halves(counts, totals, scale, random) for _ in range(repeats)], axis=0)
    halves = np.clip(halves, 0.0, 1.0)
    return np.sqrt(2 * halves / (1 + halves))


def correlation_of_halves(
    counts: sp.csr_array, totals: np.ndarray, scale: Scale, random: np.random.Generator
) -> np.ndarray:
    """Correlate one random split of everything that was counted, also of genes that are not in `counts`."""
    drawn = random.binomial(counts.data.astype(np.int64), 0.5)
    half = sp.csr_array((drawn, counts.indices, counts.indptr), shape=counts.shape)
    others = (totals - row_sums(counts)).astype(np.int64)
    half_totals = row_sums(half) + random.binomial(others, 0.5)
    first, second = half.tocsc(), (counts - half).tocsc()
    return np.concatenate(
        [
            pearson(
                scale(first[:, genes].toarray(), half_totals),
                scale(second[:, genes].toarray(), totals - half_totals),
            )
            for genes in column_blocks(*counts.shape)
        ]
    )


def share_of_ceiling(correlations: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """Divide correlations by their ceilings; NaN if the ceiling is too low to divide by."""
    return correlations / np.where(ceiling >= LEAST_CEILING, ceiling, np.nan)


def row_sums(matrix: sp.csr_array) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1)).ravel()


def column_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Group columns that are small enough to be dense."""
    width = max(1, BLOCK_VALUES // max(rows, 1))
    return (slice(start, min(start + width, columns)) for start in range(0, columns, width))
