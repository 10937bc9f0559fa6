"""Losses against scipy's distributions, hand-computed cases and their own laws."""

import numpy as np
import pytest
import torch
from scipy import stats

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.training.loss import (
    BatchCounts,
    RateLoss,
    correlate_columns,
    correlation_loss,
    masked_loss,
    multinomial_loss,
    negative_binomial_loss,
    paper_loss,
    poisson_loss,
    pool_weighted,
    rate_loss,
)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")


def measure(shapes: int = 7, genes: int = 3, **changes) -> BatchCounts:
    rng = np.random.default_rng(0)
    values = {
        "counts": torch.tensor(rng.poisson(3.0, (shapes, genes)) + 1.0),
        "totals": torch.full((shapes,), 20.0, dtype=torch.float64),
        "size_factor": 1.0,
    }
    return BatchCounts(**{**values, **changes})


def means(shapes: int = 7, genes: int = 3) -> torch.Tensor:
    return torch.rand(shapes, genes, dtype=torch.float64) * 4 + 0.5


def weights() -> torch.Tensor:
    """Three shapes on two crops of 2 x 3 pixels: half a pixel, a row, pixels of the second crop."""
    dense = torch.zeros(3, 12, dtype=torch.float64)
    dense[0, 0], dense[1, 3:6], dense[2, 7:9] = 0.5, 1.0, 0.25
    return dense


def test_pooling_is_a_weighted_sum_per_shape():
    programs = torch.arange(24, dtype=torch.float64).reshape(2, 2, 2, 3)
    pooled = pool_weighted(programs, weights().to_sparse_csr())
    # Crop 0, program 0 holds 0..5; program 1 holds 6..11. Crop 1: 12..17 and 18..23.
    expected = [[0.5 * 0, 0.5 * 6], [3 + 4 + 5, 9 + 10 + 11], [0.25 * (13 + 14), 0.25 * (19 + 20)]]
    torch.testing.assert_close(pooled, torch.tensor(expected, dtype=torch.float64))


def test_pooling_commutes_with_the_loadings():
    programs, loadings = torch.rand(2, 4, 2, 3, dtype=torch.float64), torch.rand(4, 6, dtype=torch.float64)
    genes = torch.einsum("bkhw,kg->bghw", programs, loadings)
    sparse = weights().to_sparse_csr()
    torch.testing.assert_close(pool_weighted(genes, sparse), pool_weighted(programs, sparse) @ loadings)


@pytest.mark.parametrize("layout", ["csr", "coo"])
def test_gradient_of_the_pooled_loss_through_the_coverage(layout):
    sparse = weights().to_sparse_csr() if layout == "csr" else weights().to_sparse()
    measured, loadings = measure(3, 4), torch.rand(2, 4, dtype=torch.float64)
    dispersion = torch.full((4,), 0.3, dtype=torch.float64, requires_grad=True)
    programs = (torch.rand(2, 2, 2, 3, dtype=torch.float64) + 0.1).requires_grad_()

    def loss(programs: torch.Tensor, dispersion: torch.Tensor) -> torch.Tensor:
        return rate_loss(pool_weighted(programs, sparse) @ loadings, measured, dispersion, RateLoss())

    assert torch.autograd.gradcheck(loss, (programs, dispersion))


def test_weights_of_another_crop_are_refused():
    with pytest.raises(PixnetValueError, match=r"12 pixels do not fit programs of 8"):
        pool_weighted(torch.ones(1, 2, 2, 4, dtype=torch.float64), weights().to_sparse_csr())


def test_pearson_is_numpy_s():
    a, b = means(), means()
    expected = [np.corrcoef(a[:, gene], b[:, gene])[0, 1] for gene in range(3)]
    np.testing.assert_allclose(correlate_columns(a, b).numpy(), expected)


def test_paper_loss_by_hand():
    target = torch.tensor([[0.0], [1.0], [2.0]])
    assert paper_loss(target, target).item() == pytest.approx(0.0, abs=1e-6)
    assert paper_loss(2 - target, target).item() == pytest.approx(8 / 3 + 0.5 * 2)
    assert paper_loss(torch.ones(3, 1), target).item() == pytest.approx(2 / 3 + 0.5)


def test_negative_binomial_is_scipy_s():
    measured, mu, dispersion = measure(), means(), torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)
    shape = 1 / dispersion.numpy()
    expected = -stats.nbinom.logpmf(measured.counts.numpy(), shape, shape / (shape + mu.numpy())).mean()
    assert negative_binomial_loss(mu, measured.counts, dispersion).item() == pytest.approx(expected)


def test_negative_binomial_becomes_the_poisson_as_its_dispersion_vanishes():
    measured, mu = measure(), means()
    limit = negative_binomial_loss(mu, measured.counts, torch.full((3,), 1e-7, dtype=torch.float64))
    assert limit.item() == pytest.approx(poisson_loss(mu, measured.counts, None).item(), rel=1e-5)


def test_poisson_is_the_multinomial_and_the_poisson_of_the_section_s_total():
    measured, mu = measure(), means()
    total = -stats.poisson.logpmf(measured.counts.sum(0).numpy(), mu.sum(0).numpy()).sum()
    together = multinomial_loss(mu, measured.counts, None).item() * mu.numel() + total
    assert together == pytest.approx(poisson_loss(mu, measured.counts, None).item() * mu.numel())


def test_size_factors_scale_the_expected_counts():
    mu, dispersion, plain = means(), torch.ones(3, dtype=torch.float64), RateLoss(correlation=0)
    deep = rate_loss(mu, measure(size_factor=2.0), dispersion, plain)
    assert deep.item() == pytest.approx(rate_loss(2 * mu, measure(), dispersion, plain).item())


def test_correlation_of_compositions_does_not_see_cell_density():
    measured, mu = measure(), means()
    density = torch.rand(7, 1, dtype=torch.float64) + 0.5
    before, after = (correlation_loss(rates, measured, scaled=False) for rates in (mu, density * mu))
    assert after.item() == pytest.approx(before.item())


def test_the_scaled_correlation_has_a_gradient_that_does_not_fade_as_predictions_spread():
    totals = torch.full((7,), 1e4, dtype=torch.float64)  # profiles of one gene are then its counts
    measured, logs = measure(genes=1, totals=totals), means(genes=1)
    sizes = []
    for spread in (1.0, 4.0):
        spread_logs = (spread * logs).requires_grad_()
        loss = correlation_loss(torch.expm1(spread_logs), measured, scaled=True)
        sizes.append(torch.autograd.grad(loss, spread_logs)[0].norm().item())
    assert sizes[1] == pytest.approx(sizes[0])


@pytest.mark.parametrize("likelihood", ["nb", "poisson", "multinomial"])
def test_shapes_without_counts_are_masked(likelihood):
    measured, mu, loss = measure(), means(), RateLoss(likelihood)
    dispersion = torch.ones(3, dtype=torch.float64)
    empty = BatchCounts(
        torch.cat([measured.counts, torch.zeros(2, 3)]),
        torch.cat([measured.totals, torch.zeros(2)]),
        size_factor=1.0,
    )
    wider = torch.cat([mu, torch.full((2, 3), 1e3, dtype=torch.float64)])
    assert masked_loss("rate", wider, empty, dispersion, loss).item() == pytest.approx(
        rate_loss(mu, measured, dispersion, loss).item()
    )


def test_a_likelihood_that_is_not_known_is_refused():
    with pytest.raises(PixnetValueError, match="'nb', 'poisson', 'multinomial'.*got 'gauss'"):
        RateLoss("gauss")


def test_a_batch_without_any_count_has_no_loss_and_no_gradient():
    mu = means(2).requires_grad_()
    nothing = measure(2, counts=torch.zeros(2, 3), totals=torch.zeros(2))
    loss = masked_loss("rate", mu, nothing, torch.ones(3), RateLoss())
    assert torch.autograd.grad(loss, mu)[0].abs().sum() == 0


@pytest.mark.parametrize("likelihood", ["nb", "poisson", "multinomial"])
def test_the_truth_has_the_lowest_expected_loss(likelihood):
    rng = np.random.default_rng(1)
    truth = rng.gamma(2.0, 2.0, (400, 3))
    counts = torch.tensor(rng.poisson(truth * rng.gamma(5.0, 0.2, truth.shape)), dtype=torch.float64)
    measured = measure(400, counts=counts)
    dispersion, loss = torch.full((3,), 0.2, dtype=torch.float64), RateLoss(likelihood)
    flat = np.broadcast_to(truth.mean(0), truth.shape)
    losses = [rate_loss(torch.tensor(rates.copy()), measured, dispersion, loss).item() for rates in (truth, flat)]
    assert losses[0] < losses[1]
