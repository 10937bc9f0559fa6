"""Coverage holds for new sections, however the shapes of a section depend on each other."""

import numpy as np
import pytest

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._metrics.conformal import calibrate, residual_scores

TRIALS = 4000


def sections(number: int, seed: int = 0) -> list[np.ndarray]:
    """Scores whose scale differs from section to section, as do their numbers; each column is a trial of its own."""
    random = np.random.default_rng(seed)
    sizes = random.integers(20, 60, number)
    return [np.abs(random.normal(size=(size, TRIALS))) * random.lognormal(0, 0.7, TRIALS) for size in sizes]


def split(number: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Calibration sections and a new one."""
    *known, new = sections(number + 1)
    return known, new


@pytest.mark.parametrize(("number", "level"), [(4, 0.8), (9, 0.9), (9, 0.5), (20, 0.9)])
def test_a_shape_of_a_new_section_is_covered(number: int, level: float) -> None:
    known, new = split(number)
    covered = (new <= calibrate(known, level).quantiles).mean(axis=0)
    tolerance = 4 * covered.std() / np.sqrt(TRIALS)
    assert covered.mean() >= level - tolerance
    assert covered.mean() <= level + 1 / (number + 1) + tolerance  # and not by being infinitely wide


def test_shapes_pooled_as_if_exchangeable_would_cover_too_little() -> None:
    known, new = split(4)
    covered = (new <= np.quantile(np.concatenate(known), 0.8, axis=0)).mean(axis=0)
    assert covered.mean() < 0.8 - 4 * covered.std() / np.sqrt(TRIALS)


@pytest.mark.parametrize(("number", "confidence"), [(4, 0.8), (9, 0.9), (9, 0.6)])
def test_a_new_section_is_covered_with_confidence(number: int, confidence: float) -> None:
    known, new = split(number)
    found = calibrate(known, 0.75, confidence=confidence)
    reached = ((new <= found.quantiles).mean(axis=0) >= 0.75).mean()
    sd = np.sqrt(confidence * (1 - confidence) / TRIALS)
    assert confidence - 4 * sd <= reached <= confidence + 0.08  # 0.08: shares of few shapes come in steps


def test_sections_weigh_the_same_by_hand() -> None:
    """Two sections and the one to come have a third each: four scores of one twelfth, then one of a third."""
    scores = [np.array([[1.0], [2.0], [4.0], [3.0]]), np.array([[10.0]])]
    quantiles = {level: calibrate(scores, level).quantiles.item() for level in (1 / 12, 0.25, 1 / 3, 0.34, 2 / 3)}
    assert quantiles == {1 / 12: 1.0, 0.25: 3.0, 1 / 3: 4.0, 0.34: 10.0, 2 / 3: 10.0}
    assert calibrate(scores, 0.5, confidence=1 / 3).quantiles.item() == 2.0
    assert calibrate(scores, 0.5, confidence=2 / 3).quantiles.item() == 10.0


@pytest.mark.parametrize("confidence", [None, 0.8])
def test_higher_levels_are_wider(confidence: float | None) -> None:
    known, _ = split(9)
    widths = [calibrate(known, level, confidence=confidence).quantiles for level in (0.3, 0.5, 0.7, 0.9)]
    assert (np.diff(widths, axis=0) >= 0).all()


def test_repeating_the_shapes_of_a_section_changes_nothing() -> None:
    known, _ = split(5)
    repeated = [np.repeat(own, 1 + number, axis=0) for number, own in enumerate(known)]
    for confidence in (None, 0.7):
        np.testing.assert_array_equal(
            calibrate(repeated, 0.6, confidence=confidence).quantiles,
            calibrate(known, 0.6, confidence=confidence).quantiles,
        )


def test_nan_is_left_out_and_a_gene_with_too_few_sections_is_unbounded() -> None:
    scores = [np.array([[1.0, 1.0], [np.nan, 5.0]]), np.array([[2.0, np.nan]])]
    assert calibrate(scores, 0.6).quantiles.tolist() == [2.0, np.inf]
    assert calibrate(scores, 0.6, confidence=0.6).quantiles.tolist() == [2.0, np.inf]


@pytest.mark.parametrize(("level", "number", "needed"), [(0.9, 4, 9), (0.8, 3, 4), (0.95, 9, 19)])
def test_too_few_sections_say_how_many_are_needed(level: float, number: int, needed: int) -> None:
    scores = [np.ones((3, 1))] * number
    with pytest.raises(PixnetValueError, match=f"needs at least {needed} calibration sections; there are {number}"):
        calibrate(scores, level)
    with pytest.raises(PixnetValueError, match=f"confidence={level} needs at least {needed} "):
        calibrate(scores, 0.5, confidence=level)
    assert np.isfinite(calibrate([np.ones((3, 1))] * needed, level).quantiles).all()


@pytest.mark.parametrize(
    ("scores", "level", "message"),
    [
        ([], 0.5, "one table"),
        ([np.ones((3, 2)), np.ones((3, 1))], 0.5, r"same genes; got \[\(3, 2\), \(3, 1\)\]"),
        ([np.ones(3)], 0.5, "one table"),
        ([np.array([[-2.0]])], 0.5, "the lowest is -2"),
        ([np.ones((3, 1))], 1.0, "between 0 and 1"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores: list, level: float, message: str) -> None:
    with pytest.raises(PixnetValueError, match=message):
        calibrate(scores, level)


def test_intervals_scale_with_the_spread_and_hold_what_the_scores_say() -> None:
    random = np.random.default_rng(1)
    mean, dispersion = random.gamma(2.0, 5.0, size=(200, 3)), np.array([0.0, 0.1, 1.0])
    spread = np.sqrt(mean + dispersion * mean**2)
    measured = random.poisson(mean)
    scores = residual_scores(measured, mean, spread)
    found = calibrate([scores[:100], scores[100:]], 0.6)
    low, high = found.interval(mean, spread)
    np.testing.assert_array_equal((low <= measured) & (measured <= high), scores <= found.quantiles)
    np.testing.assert_allclose((high - low) / spread, np.broadcast_to(2 * found.quantiles, mean.shape))
