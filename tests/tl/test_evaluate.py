"""A perfect prediction scores perfectly, one that knows nothing scores 0, and only the profile counts."""

import logging
from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError, PixnetWarning
from pixnet_sd._metrics import scores as _scores
from pixnet_sd._sdata import build
from pixnet_sd._settings import logger
from pixnet_sd.tl._evaluate import evaluate

IDENTITY = build.make_transformations({"global": np.eye(3)})
RANDOM = np.random.default_rng(0)
SPOTS, GENES = pd.Index([f"s{i}" for i in range(60)]), [f"G{i}" for i in range(8)]
COUNTS = RANDOM.poisson(RANDOM.gamma(2.0, 10.0, size=(60, 8)))
TOTALS = COUNTS.sum(axis=1)


def predicted(values: np.ndarray, unit: str | None = "counts", genes: list[str] | None = None) -> ad.AnnData:
    found = build.make_table(values, pd.DataFrame(index=genes or GENES), "spots", SPOTS)
    if unit is not None:
        found.uns["pixnet_sd"] = {"unit": unit}
    return found


def section(prediction: ad.AnnData, counts: np.ndarray = COUNTS, spots: pd.Index = SPOTS) -> SpatialData:
    shapes = build.make_circles(np.arange(120.0).reshape(-1, 2), 1.0, SPOTS, IDENTITY)
    measured = build.make_table(counts, pd.DataFrame(index=GENES), "spots", spots)
    return build.make_section({"spots": shapes, "predicted": prediction, "measured": measured}, {}, {})


def scores(prediction: ad.AnnData, counts: np.ndarray = COUNTS, **options) -> pd.DataFrame:
    return evaluate(section(prediction, counts), "predicted", "measured", **options)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)


PERFECT = {
    "counts": predicted(0.01 * COUNTS),
    "every shape at its own depth": predicted(COUNTS * RANDOM.uniform(0.1, 9.0, size=(60, 1))),
    "density": predicted(COUNTS / 50.0, "counts/um2"),
    "logs": predicted(np.log1p(1e4 * COUNTS / TOTALS[:, None]), "log1p"),
}


@pytest.mark.parametrize("prediction", PERFECT.values(), ids=PERFECT)
def test_a_perfect_prediction_is_perfect_in_rank_and_error(prediction: ad.AnnData) -> None:
    found = scores(prediction)
    np.testing.assert_allclose(found[["pearson", "spearman"]], 1.0)
    np.testing.assert_allclose(found[["mse", "mae"]], 0.0, atol=1e-9)
    np.testing.assert_allclose(found["mean_count"], COUNTS.mean(axis=0))
    assert found.index.tolist() == GENES
    assert [found.attrs[name] for name in ("PCC@F", "PCC@S", "PCC@M", "best_50")] == pytest.approx([1.0] * 4)


def test_some_of_the_genes_are_perfect_where_their_share_is_the_same() -> None:
    counts = np.hstack([COUNTS[:, :4], COUNTS[:, :4].sum(axis=1, keepdims=True) * [1, 1, 0, 0]])  # a third everywhere
    found = scores(predicted(0.5 * counts[:, :4], genes=GENES[:4]), counts)
    np.testing.assert_allclose(found["pearson"], 1.0)
    np.testing.assert_allclose(found["mse"], 0.0, atol=1e-12)
    assert found.attrs["share_of_counts"] == pytest.approx(1 / 3)


def test_a_prediction_without_pattern_scores_0_whatever_the_depth() -> None:
    """Dividing it by the measured totals would give it their pattern."""
    depth = COUNTS.sum(axis=1, keepdims=True)
    found = scores(predicted((depth * COUNTS.mean(axis=0)).astype(np.float32)))
    assert (found[["pearson", "spearman"]] == 0).all(axis=None)


def test_scores_are_those_of_the_profiles() -> None:
    values = RANDOM.gamma(2.0, 1.0, size=(60, 8))
    own, target = (np.log1p(1e4 * x / x.sum(axis=1, keepdims=True)) for x in (values, COUNTS))
    found = scores(predicted(values))
    assert found.loc["G3", "pearson"] == pytest.approx(stats.pearsonr(own[:, 3], target[:, 3]).statistic)
    assert found.loc["G3", "spearman"] == pytest.approx(stats.spearmanr(own[:, 3], target[:, 3]).statistic)
    np.testing.assert_allclose(found["mse"], ((own - target) ** 2).mean(axis=0))
    assert abs(found.attrs["PCC@M"]) < 0.2


def test_chosen_genes_score_as_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = predicted(RANDOM.gamma(2.0, 1.0, size=(60, 8)))
    chosen = scores(prediction, genes=["G6", "G1"])
    monkeypatch.setattr(_scores, "BLOCK_VALUES", 3 * 60)
    pd.testing.assert_frame_equal(chosen, scores(prediction).loc[["G6", "G1"]])
    with pytest.raises(PixnetKeyError, match=r"\['MYC'\]"):
        scores(prediction, genes=["MYC"])


def test_the_order_of_rows_and_genes_does_not_matter() -> None:
    values = RANDOM.gamma(2.0, 1.0, size=(60, 8))
    straight = scores(predicted(values))
    mixed = section(predicted(values[:, ::-1], genes=GENES[::-1]), COUNTS[::-1], SPOTS[::-1])
    pd.testing.assert_frame_equal(evaluate(mixed, "predicted", "measured").loc[GENES], straight)


def test_what_is_left_out_is_counted(log: pytest.LogCaptureFixture) -> None:
    values, counts = COUNTS.astype(float), COUNTS.copy()
    values[0], values[1, 3], values[2] = np.nan, np.nan, 0.0
    counts[3], counts[:, 7] = 0, 5
    counts[3, 7] = 0
    found = evaluate(section(predicted(values), counts[:-2], SPOTS[:-2]), "predicted", "measured")
    assert (found.attrs["n_shapes"], found.attrs["n_shapes_left_out"], found.attrs["n_rows_unmatched"]) == (54, 4, 2)
    assert "over 8 genes and 54 shapes" in log.text
    assert "4 shapes without counts or without a prediction; 2 rows whose shape" in log.text


def test_a_gene_that_was_not_detected_is_not_scored(log: pytest.LogCaptureFixture) -> None:
    counts = COUNTS.copy()
    counts[:, 7] = 0
    found = scores(predicted(COUNTS), counts)
    assert found["pearson"].isna().tolist() == [False] * 7 + [True]
    assert found.attrs["n_genes_not_varying"] == 1
    assert found.attrs["PCC@M"] == pytest.approx(found["pearson"][:7].mean())
    assert "1 genes that do not vary in the measurement" in log.text


def test_the_truth_reaches_its_ceiling() -> None:
    random = np.random.default_rng(1)
    rates = np.vstack([random.gamma(2.0, 10.0, size=(60, 7)).T, np.full((1, 60), 400.0)]).T
    found = scores(predicted(rates), random.poisson(rates), ceiling=True)
    assert found.attrs["share_of_ceiling"] == pytest.approx(1.0, abs=0.1)  # over draws of 60 spots its SD is 0.027
    assert found.attrs["ceiling"] < 0.98
    np.testing.assert_allclose(found["share_of_ceiling"][:7], (found["pearson"] / found["ceiling"])[:7])
    again = scores(predicted(rates), random.poisson(rates))
    assert not {"ceiling", "share_of_ceiling"} & (set(again) | set(again.attrs))


def test_units_are_stated_never_guessed() -> None:
    with pytest.raises(PixnetValueError, match=r"does not state its unit. Pass unit=.*'counts', 'counts/um2', 'log1p'"):
        scores(predicted(COUNTS, None))
    assert scores(predicted(COUNTS, None), unit="counts").attrs["unit"] == "counts"
    with pytest.raises(PixnetValueError, match="would be in 'tpm'"):
        scores(predicted(COUNTS), unit="tpm")
    with pytest.raises(PixnetValueError, match=r"goes down to -1.*unit='log1p'"):
        scores(predicted(COUNTS - 1.0 - COUNTS.min()))


def test_normalized_values_are_no_measurement() -> None:
    with pytest.raises(PixnetValueError, match="layer='counts'"):
        scores(predicted(COUNTS), np.log1p(COUNTS))


def test_nothing_to_compare_is_refused_with_the_reasons() -> None:
    values = np.full((60, 8), np.nan)
    values[:2] = 1.0
    with pytest.raises(PixnetValueError, match=r"2 shapes can be compared.*60 shapes of 'spots'.*0 .*58 with NaN"):
        scores(predicted(values))


def test_genes_with_few_of_the_counts_give_a_warning() -> None:
    counts = np.hstack([COUNTS[:, :4], 1000 * COUNTS[:, 4:]])
    with pytest.warns(PixnetWarning, match=r"The 4 genes .* make up 0\.1% of all counts"):
        scores(predicted(COUNTS[:, :4], genes=GENES[:4]), counts)


def test_genes_may_be_an_index() -> None:
    chosen = scores(PERFECT["counts"], genes=pd.Index(["G5", "G2"]))
    pd.testing.assert_frame_equal(chosen, scores(PERFECT["counts"], genes=["G5", "G2"]))
    assert list(chosen.index) == ["G5", "G2"]


def test_a_perfect_prediction_of_one_gene_is_compared_as_a_rate(log: pytest.LogCaptureFixture) -> None:
    """A single gene is all of its own profile: its share is 1 in every shape."""
    found = scores(predicted(0.1 * COUNTS[:, :1], genes=GENES[:1]))
    np.testing.assert_allclose(found[["pearson", "spearman", "panel_ceiling"]], 1.0)
    np.testing.assert_allclose(found[["mse", "mae"]], 0.0, atol=1e-9)
    assert found.attrs["compared"] == "rate"
    assert "compared as a rate: one gene has no profile" in log.text
    assert scores(PERFECT["counts"]).attrs["compared"] == "profile"
    with pytest.raises(PixnetValueError, match="ceiling=True was asked for one gene, 'G0'"):
        scores(predicted(COUNTS[:, :1], genes=GENES[:1]), ceiling=True)


def test_a_density_of_one_gene_is_compared_by_the_area_of_each_shape() -> None:
    radius = RANDOM.uniform(1.0, 5.0, 60)
    sdata = section(predicted(COUNTS[:, :1] / (np.pi * radius[:, None] ** 2), "counts/um2", GENES[:1]))
    sdata["spots"]["radius"] = radius
    np.testing.assert_allclose(evaluate(sdata, "predicted", "measured")["pearson"], 1.0)


def test_shapes_without_a_count_of_the_only_gene_are_compared() -> None:
    counts = COUNTS.copy()
    counts[:20, 0] = 0
    found = scores(predicted(counts[:, :1], genes=GENES[:1]), counts)
    assert (found.attrs["n_shapes"], found["pearson"].iloc[0]) == (60, pytest.approx(1.0))


def test_the_measured_counts_of_few_genes_score_their_panel_ceiling() -> None:
    """Genes that rise and fall together lose in their own profile what they have in common."""
    together = RANDOM.gamma(2.0, 10.0, (60, 1))
    counts = RANDOM.poisson(np.hstack([together, together, np.full((60, 6), 20.0)]))
    with pytest.warns(PixnetWarning, match=r"The 2 genes .*would score 0\.\d\d on average as a prediction"):
        found = scores(predicted(counts[:, :2], genes=GENES[:2]), counts)
    np.testing.assert_allclose(found["pearson"], found["panel_ceiling"])
    assert found.attrs["panel_ceiling"] == pytest.approx(found["panel_ceiling"].mean())
    assert found.attrs["panel_ceiling"] < 0.9
    np.testing.assert_allclose(scores(predicted(counts), counts)["panel_ceiling"], 1.0)
    assert "panel_ceiling" not in scores(predicted(np.log1p(counts), "log1p"), counts)


def normalized(values: np.ndarray, *, log: bool = True) -> np.ndarray:
    same = 1e3 * values / values.sum(axis=1, keepdims=True)
    return np.log1p(same) if log else same


CHANGED = {"normalized": normalized(COUNTS, log=False), "logged": normalized(COUNTS)}


@pytest.mark.parametrize("values", CHANGED.values(), ids=CHANGED)
@pytest.mark.parametrize("unit", ["counts", "counts/um2"])
def test_a_prediction_that_was_normalized_in_place_is_refused(values: np.ndarray, unit: str) -> None:
    prediction = predicted(values.astype(np.float32), unit)
    with pytest.raises(PixnetValueError, match=rf"states that it holds '{unit}', but all 60 rows .*add up to 1000"):
        scores(prediction)
    assert scores(prediction, unit="log1p").attrs["unit"] == "log1p"


def test_a_prediction_that_scanpy_logged_is_refused_and_its_layer_of_counts_offered() -> None:
    prediction = predicted(np.log1p(COUNTS))
    prediction.uns["log1p"] = {"base": None}
    with pytest.raises(PixnetValueError, match=r"scanpy took its logarithm.*Predict it again.*unit='log1p'"):
        scores(prediction)
    prediction.layers["counts"] = COUNTS
    with pytest.raises(PixnetValueError, match=r"\.X = sdata\['predicted'\]\.layers\['counts'\]"):
        scores(prediction)
    prediction.X = prediction.layers["counts"]
    np.testing.assert_allclose(scores(prediction, unit="counts")["pearson"], 1.0)


def test_a_prediction_without_pattern_was_not_normalized() -> None:
    assert scores(predicted(np.tile(COUNTS.mean(axis=0), (60, 1)))).attrs["PCC@M"] == 0
