"""Fields and loadings from counts whose truth is known."""

from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_array

from pixnet_sd._fields.choice import choose_prior, split_blocks
from pixnet_sd._fields.factors import Evidence, Prior, calibrate, fit_map

SIDE, STEP = 16, 10.0
SHAPE = (160, 160)
PRIOR = Prior(15.0, 0.3, 20.0)


@cache
def section() -> tuple[Evidence, np.ndarray, np.ndarray]:
    """A lattice of shapes with counts, the loadings of a model, and true expected counts, which differ from it."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    centers = np.column_stack([x.ravel(), y.ravel()]) * STEP + STEP / 2
    programs = random.gamma(2, 5, (len(centers), 3))
    loadings = random.gamma(0.7, 1, (3, 12))
    waves = [0.8 * np.sin(centers[:, 0] / 35 + k) * np.cos(centers[:, 1] / 40 + 2 * k) for k in range(3)]
    truth = (programs * np.exp(np.column_stack(waves))) @ (loadings * random.gamma(5, 0.2, loadings.shape))
    return Evidence(programs, csr_array(random.poisson(truth)), centers), loadings, truth


def mean_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((np.log(predicted) - np.log(truth)) ** 2))


def test_a_fit_is_nearer_to_the_truth_than_the_map_and_than_the_counts() -> None:
    evidence, loadings, truth = section()
    fitted = fit_map(evidence, loadings, SHAPE, PRIOR).predict(evidence.programs, evidence.centers_px)
    plain = evidence.programs @ calibrate(evidence, loadings)
    assert mean_error(fitted, truth) < 0.5 * mean_error(plain, truth)
    assert mean_error(fitted, truth) < 0.8 * mean_error(evidence.counts.toarray() + 0.5, truth)


def test_without_strength_the_map_is_only_calibrated() -> None:
    evidence, loadings, _ = section()
    fit = fit_map(evidence, loadings, SHAPE, Prior(15.0, 0.0, np.inf))
    assert (fit.fields == 1).all()
    np.testing.assert_array_equal(fit.loadings, calibrate(evidence, loadings))


def test_calibrated_counts_add_up_to_those_measured() -> None:
    evidence, loadings, _ = section()
    expected = evidence.programs.sum(axis=0) @ calibrate(evidence, loadings)
    np.testing.assert_allclose(expected, evidence.counts.sum(axis=0), rtol=0.01)


def test_fields_are_one_far_from_all_shapes() -> None:
    evidence, loadings, _ = section()
    fit = fit_map(evidence, loadings, (160, 1000), PRIOR)
    fields = fit.fields.reshape(*fit.lattice.shape, -1)
    assert np.ptp(fields[:, : int(160 / fit.lattice.step_px)]) > 0.2
    assert (fields[:, int(260 / fit.lattice.step_px) :] == 1).all()


def test_few_counts_move_the_map_less_than_many() -> None:
    evidence, loadings, truth = section()
    few = Evidence(evidence.programs, csr_array(np.random.default_rng(1).poisson(truth / 100)), evidence.centers_px)
    prior = Prior(15.0, 0.0, 20.0)
    moved = [
        np.abs(np.log(fit_map(one, loadings, SHAPE, prior).loadings / calibrate(one, loadings))).mean()
        for one in (evidence, few)
    ]
    assert moved[1] < 0.7 * moved[0]


def test_the_order_of_shapes_does_not_matter() -> None:
    evidence, loadings, _ = section()
    turned = evidence.take(np.arange(SIDE**2)[::-1])
    one, other = (fit_map(each, loadings, SHAPE, PRIOR).fields for each in (evidence, turned))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_blocks_are_held_out_whole() -> None:
    block, fold = split_blocks(section()[0].centers_px, 40.0)
    for number in np.unique(block):
        assert len(np.unique(fold[block == number])) == 1


@pytest.mark.parametrize("shuffled", [False, True])
def test_held_out_shapes_tell_counts_from_shuffled_ones(shuffled: bool) -> None:
    evidence, loadings, _ = section()
    rows = np.random.default_rng(2).permutation(SIDE**2) if shuffled else np.arange(SIDE**2)
    counts = Evidence(evidence.programs, evidence.counts[rows], evidence.centers_px)
    choice = choose_prior(counts, loadings, SHAPE, 0.1 if shuffled else None)
    plain, smoothed, refined = (one.mean() for one in (choice.plain, choice.smoothed, choice.refined))
    if shuffled:
        assert refined < 0.1
    else:
        assert refined > 1.05 * plain
        assert refined > 1.15 * smoothed
