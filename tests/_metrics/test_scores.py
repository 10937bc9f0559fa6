"""Scores equal scipy's, gene by gene; the ceiling is what the truth itself would score at one depth."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from pixnet_sd._metrics import scores
from pixnet_sd.datasets._her2st_files import MeasuredSection, read_section

RANDOM = np.random.default_rng(0)
ONE = RANDOM.normal(size=(40, 5))
OTHER = np.round(ONE + RANDOM.normal(size=(40, 5)), 1)


def holes() -> tuple[np.ndarray, np.ndarray]:
    """Both tables, with NaN in different places."""
    one, other = ONE.copy(), OTHER.copy()
    one[3], other[5, 2] = np.nan, np.nan
    return one, other


@pytest.mark.parametrize(
    ("ours", "theirs"), [(scores.pearson, stats.pearsonr), (scores.spearman, stats.spearmanr)], ids=["r", "rho"]
)
def test_correlations_are_scipys_on_what_both_have(ours, theirs) -> None:
    one, other = holes()
    for gene, found in enumerate(ours(one, other)):
        both = ~np.isnan(one[:, gene]) & ~np.isnan(other[:, gene])
        assert found == pytest.approx(theirs(one[both, gene], other[both, gene]).statistic, abs=1e-12)


def test_pearson_ignores_scale_and_spearman_any_increasing_map() -> None:
    np.testing.assert_allclose(scores.pearson(3 * ONE - 7, OTHER), scores.pearson(ONE, OTHER), atol=1e-12)
    np.testing.assert_allclose(scores.spearman(np.exp(ONE), OTHER), scores.spearman(ONE, OTHER), atol=1e-12)
    np.testing.assert_allclose(scores.spearman(np.exp(ONE), ONE), 1.0)


def test_errors_by_hand() -> None:
    found = scores.score_genes(np.array([[1.0], [5.0], [np.nan]]), np.array([[2.0], [2.0], [2.0]]))
    assert (found.loc[0, "mse"], found.loc[0, "mae"]) == (5.0, 2.0)


def test_a_flat_measurement_cannot_be_scored_and_a_flat_prediction_scores_nothing() -> None:
    flat = np.full((40, 5), 0.1) * (1 + 1e-8 * ONE)  # constant but for rounding
    assert np.isnan(scores.pearson(ONE, flat)).all()
    assert np.isnan(scores.score_genes(ONE, flat)[["pearson", "spearman"]]).all(axis=None)
    assert (scores.score_genes(flat, ONE)[["pearson", "spearman"]] == 0).all(axis=None)
    assert np.isnan(scores.score_genes(np.full((4, 1), np.nan), ONE[:4, :1])).all(axis=None)


def test_summaries_are_over_the_genes_that_were_scored() -> None:
    correlations = np.array([0.0, 0.2, np.nan, 0.4, 0.8, 0.6])
    found = scores.quartiles(correlations)
    assert found == pytest.approx({"PCC@F": 0.2, "PCC@S": 0.4, "PCC@M": 0.4})
    assert scores.best_mean(correlations, 2) == pytest.approx(0.7)
    assert scores.best_mean(correlations) == pytest.approx(0.4)
    assert np.isnan([*scores.quartiles(np.array([np.nan])).values(), scores.best_mean(np.array([]))]).all()


def test_log_profile_by_hand() -> None:
    found = scores.log_profile(np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([5000, 0]))
    np.testing.assert_allclose(found, [[np.log(3), np.log(7)], [np.nan, np.nan]])


def draw(depth: float, spots: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True log profiles, Poisson counts of them, and totals with the genes that are not in the panel."""
    random = np.random.default_rng(1)
    per_10k = np.exp(random.normal(size=(spots, 8)) * np.linspace(0.1, 1.0, 8) + np.linspace(1.0, 4.0, 8))
    counts = random.poisson(per_10k * depth / 1e4)
    return np.log1p(per_10k), counts, counts.sum(axis=1) + random.poisson(depth - per_10k.sum(axis=1) * depth / 1e4)


@pytest.mark.parametrize("depth", [4_000, 10_000, 40_000])
def test_at_one_depth_the_ceiling_is_what_the_truth_would_score(depth: float) -> None:
    truth, counts, totals = draw(depth)
    reached = scores.pearson(truth, scores.log_profile(counts, totals))
    ceiling = scores.noise_ceiling(sp.csr_array(counts), totals)
    clear = reached > scores.LEAST_CEILING
    assert clear.sum() >= 6
    np.testing.assert_allclose(ceiling[clear], reached[clear], atol=0.03)
    assert ceiling.mean() == pytest.approx(reached.mean(), abs=0.02)


def test_where_depth_varies_the_ceiling_is_an_upper_bound() -> None:
    """The log profile of few counts depends on the depth; halves share it, the truth does not know it."""
    truth, _, _ = draw(1e6)
    depths = np.random.default_rng(2).gamma(2.0, 500, size=(len(truth), 1)) + 20
    counts = np.random.default_rng(3).poisson(np.expm1(truth) * depths / 1e4)
    totals = np.maximum(depths[:, 0].astype(int), counts.sum(axis=1))
    reached = scores.pearson(truth, scores.log_profile(counts, totals))
    assert scores.noise_ceiling(sp.csr_array(counts), totals).mean() > reached.mean() + 0.03


def test_genes_without_pattern_have_no_ceiling_and_no_share() -> None:
    counts = np.random.default_rng(2).poisson([[20.0, 0.0]], size=(5000, 2))
    ceiling = scores.noise_ceiling(sp.csr_array(counts), np.full(5000, 1000))
    assert ceiling[0] < scores.LEAST_CEILING
    assert np.isnan(ceiling[1])
    assert np.isnan(scores.share_of_ceiling(np.array([0.02, 0.0]), ceiling)).all()
    np.testing.assert_allclose(scores.share_of_ceiling(np.array([0.3]), np.array([0.6])), 0.5)


def test_the_ceiling_is_the_same_for_a_seed_and_for_any_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    _, counts, totals = draw(4_000, spots=200)
    whole = scores.noise_ceiling(sp.csr_array(counts), totals, seed=3)
    monkeypatch.setattr(scores, "BLOCK_VALUES", 3 * 200)
    np.testing.assert_array_equal(scores.noise_ceiling(sp.csr_array(counts), totals, seed=3), whole)
    assert (scores.noise_ceiling(sp.csr_array(counts), totals, seed=4) != whole).any()


def test_spots_too_empty_to_split_do_not_raise_the_ceiling() -> None:
    """Half of a single count is nothing; taken as a profile of zeros it would agree with itself."""
    _, counts, totals = draw(4_000, spots=200)
    with_empty = sp.csr_array(np.vstack([counts, np.zeros((5, 8), int)]))
    more = scores.noise_ceiling(with_empty, np.append(totals, np.ones(5, int)), repeats=30)
    np.testing.assert_allclose(more, scores.noise_ceiling(sp.csr_array(counts), totals, repeats=30), atol=0.06)


def test_blocks_cover_all_columns_once() -> None:
    assert [(b.start, b.stop) for b in scores.column_blocks(2**22, 5)] == [(0, 2), (2, 4), (4, 5)]
    assert len(list(scores.column_blocks(2**30, 3))) == 3


@pytest.fixture
def sections(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, MeasuredSection]:
    if not (real_data / "her2st").is_dir():
        pytest.skip(f"her2st is not in {real_data}")
    monkeypatch.setenv("PIXNET_SD_DATA_DIR", str(real_data))
    return {name: read_section(name) for name in ("C2", "C3", "C4", "C5")}


def mean_per_10k(section: MeasuredSection) -> dict[str, float]:
    rates = section.counts.toarray() * (1e4 / np.asarray(section.counts.sum(axis=1)))
    return dict(zip(section.genes, rates.mean(axis=0), strict=True))


def test_the_ceiling_of_a_real_section(sections: dict[str, MeasuredSection]) -> None:
    """C4 by the benchmark's protocol: the 250 genes of highest mean over the other sections."""
    section = sections.pop("C4")
    means = [mean_per_10k(other) for other in sections.values()]
    common = [gene for gene in section.genes if all(gene in own for own in means)]
    best = set(sorted(common, key=lambda gene: -sum(own[gene] for own in means))[:250])
    panel = np.flatnonzero([gene in best for gene in section.genes])
    counts = sp.csr_array(section.counts)
    ceiling = scores.noise_ceiling(counts[:, panel], scores.row_sums(counts))
    assert len(panel) == 250
    assert ceiling.mean() == pytest.approx(0.624, abs=0.02)


def test_depth_alone_has_no_pearson_residuals_and_scores_on_logs() -> None:
    """Every shape has the same profile; only the depth differs, tenfold."""
    random = np.random.default_rng(0)
    totals, shares = random.integers(200, 2000, 400), random.dirichlet(np.ones(50))
    counts = np.array([random.multinomial(total, shares) for total in totals])
    depth = np.tile(np.log(totals)[:, None], 50)
    on_logs = np.abs(np.nanmean(scores.pearson(depth, scores.log_profile(counts, totals))))
    assert abs(np.nanmean(scores.score_residuals(depth, counts, totals))) < 0.03 < on_logs


def test_pearson_residuals_are_those_of_the_formula() -> None:
    counts, totals = np.array([[3.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), np.array([4.0, 2.0, 0.0])
    mean = np.outer(totals[:2], [4 / 6, 2 / 6])
    found = scores.pearson_residuals(counts, totals)
    np.testing.assert_allclose(found[:2], (counts[:2] - mean) / np.sqrt(mean + mean**2 / 100), rtol=1e-15)
    assert np.isnan(found[2]).all()
