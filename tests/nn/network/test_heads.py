"""Heads keep their scale in one place, and their last step commutes with pooling."""

import pytest
import torch

from pixnet_sd.nn.network.heads import LogHead, RateHead


def test_rates_are_not_negative_and_each_program_s_profile_sums_to_one():
    head = RateHead(6, programs=4, genes=5)
    assert (head(torch.randn(2, 6, 3, 3) * 10) >= 0).all()
    assert (head.loadings > 0).all()
    torch.testing.assert_close(head.loadings.sum(1), torch.ones(4))


def test_a_program_is_the_count_that_it_contributes():
    head = RateHead(6, programs=4, genes=5)
    programs = head(torch.randn(1, 6, 2, 2))
    genes = torch.einsum("bkhw,kg->bghw", programs, head.loadings)
    torch.testing.assert_close(genes.sum(1), programs.sum(1))


def test_a_rate_head_starts_at_the_genes_means():
    head = RateHead(6, programs=64, genes=3)
    rates = torch.tensor([0.002, 0.1, 1.5])
    head.start_at(rates)
    started = head(torch.zeros(1, 6, 1, 1)).flatten() @ head.loadings
    assert started.sum().item() == pytest.approx(rates.sum().item(), rel=1e-4)
    torch.testing.assert_close(started, rates, rtol=1e-3, atol=0)
    assert (head.loadings.std(0) > 0).all()


def test_a_log_head_is_linear_with_an_intercept():
    head = LogHead(4, programs=4, genes=3)
    head.start_at(torch.tensor([1.0, 2.0, 3.0]))
    features = torch.randn(1, 4, 2, 2)
    assert torch.equal(head(features), features)
    assert head.loadings.shape == (4, 3)
    assert head.intercept.tolist() == [1, 2, 3]


@pytest.mark.parametrize("head", [RateHead(4, 4, 3), LogHead(4, 4, 3)], ids=["rate", "log"])
def test_pooling_commutes_with_the_step_to_genes(head):
    programs = head(torch.randn(1, 4, 5, 5))
    weights = torch.rand(2, 25)
    weights /= weights.sum(1, keepdim=True)
    genes_first = weights @ (programs.flatten(2)[0].T @ head.loadings + head.intercept)
    pooled_first = (weights @ programs.flatten(2)[0].T) @ head.loadings + head.intercept
    torch.testing.assert_close(pooled_first, genes_first)


def test_the_dispersion_has_a_floor():
    head = RateHead(4, 2, 3)
    with torch.no_grad():
        head.log_dispersion.fill_(-50)
    assert (head.dispersion >= 1e-3).all()
