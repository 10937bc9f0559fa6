"""The ridge against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.network.ridge import fit_ridge, group_folds


def data(shapes: int = 40, features: int = 6, genes: int = 5, noise: float = 0.1, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(shapes, features)) * np.arange(1, features + 1) + 3
    y = x @ rng.normal(size=(features, genes)) + noise * rng.normal(size=(shapes, genes)) - 2
    return x, y, np.arange(shapes) % 4


@pytest.mark.parametrize("features", [6, 80], ids=["tall", "wide"])
def test_the_ridge_is_scikit_learn_s(features):
    x, y, groups = data(features=features)
    fit = fit_ridge(x, y, group_folds(groups), penalties=[2.5])
    scaled = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(fit.predict(x), Ridge(alpha=2.5).fit(scaled, y).predict(scaled))


def test_a_reduced_rank_fit_is_the_best_fit_of_that_rank():
    x, y, groups = data()
    full, low = (fit_ridge(x, y, group_folds(groups), penalties=[1.0], rank=rank) for rank in (None, 2))
    left, values, right = np.linalg.svd(full.predict(x) - y.mean(0), full_matrices=False)
    np.testing.assert_allclose(low.predict(x) - y.mean(0), left[:, :2] * values[:2] @ right[:2])
    assert low.projection.shape == (6, 2)
    np.testing.assert_allclose(low.loadings @ low.loadings.T, np.eye(2), atol=1e-12)


def test_the_penalty_is_the_one_that_does_best_on_left_out_groups():
    x, y, groups = data(shapes=24, features=200, noise=30.0)
    fit = fit_ridge(x, y, group_folds(groups), penalties=[1e-6, 100.0, 1e3, 1e9])
    held = dict.fromkeys(fit.scores, 0.0)
    for penalty in held:
        for group in range(4):
            out = groups == group
            mean, scale = x[~out].mean(0), x[~out].std(0)
            model = Ridge(alpha=penalty).fit((x[~out] - mean) / scale, y[~out])
            predicted = model.predict((x[out] - mean) / scale)
            held[penalty] += np.mean([np.corrcoef(predicted[:, g], y[out][:, g])[0, 1] for g in range(5)]) / 4
    assert fit.scores == pytest.approx(held, abs=1e-6)
    assert fit.penalty == max(held, key=held.__getitem__)


def test_a_constant_feature_does_no_harm():
    x, y, groups = data()
    with_constant = np.column_stack([x, np.full(len(x), 7.0)])
    fit = fit_ridge(with_constant, y, group_folds(groups), penalties=[1.0])
    np.testing.assert_allclose(
        fit.predict(with_constant), fit_ridge(x, y, group_folds(groups), penalties=[1.0]).predict(x)
    )


def test_one_group_cannot_choose_a_penalty():
    x, y, _ = data()
    with pytest.raises(PixnetValueError, match="at least 2 groups"):
        fit_ridge(x, y, group_folds(np.zeros(len(x))))


def test_features_that_are_not_finite_are_refused():
    x, y, groups = data()
    x[3, 2] = np.nan
    with pytest.raises(PixnetValueError, match="1 not finite"):
        fit_ridge(x, y, group_folds(groups))
