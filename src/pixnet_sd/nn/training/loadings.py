"""Loadings of more genes for programs that no longer change. Torch and numpy.

The step from programs to genes is linear, so a gene costs one row of numbers, and is fitted without the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pixnet_sd._metrics.scores import PER, column_blocks, log_profile
from pixnet_sd.nn.training.loss import correlate_columns, negative_binomial_loss

ITERATIONS = 60
# Counts per program with which the mean profile takes part: it decides for genes of few counts.
PRIOR_COUNTS = 3.0
# Steps of the training's own loss from there. On sections that were left out, 250 genes
# score .239 (log profiles) and .260 (residuals) without them, .265 and .247 with them, .251 and .236 after 160 steps.
STEPS, RATE = 20, 0.02
DISPERSION = 0.3
SMALLEST = 1e-12


@dataclass(frozen=True)
class PooledSection:
    """Programs and counts of the same shapes of one section."""

    programs: np.ndarray
    """(S, K) pooled programs, expected counts before the loadings."""
    counts: sp.csr_array
    """(S, G) raw."""
    totals: np.ndarray
    """(S,) counts over all genes measured."""

    def take(self, rows: np.ndarray) -> PooledSection:
        return PooledSection(self.programs[rows], self.counts[rows], self.totals[rows])


def fit_loadings(sections: Sequence[PooledSection], library: np.ndarray) -> np.ndarray:
    """Fit (K, G) non-negative loadings; `library` (K,) are those of all counts together."""
    blocks = column_blocks(sum(len(one.totals) for one in sections), sections[0].counts.shape[1])
    return np.concatenate([fit_block([take_columns(one, block) for one in sections], library) for block in blocks], 1)


def take_columns(section: PooledSection, block: slice) -> PooledSection:
    return replace(section, counts=section.counts[:, block])


def fit_block(sections: Sequence[PooledSection], library: np.ndarray) -> np.ndarray:
    """Fit some genes, of which counts are dense: from counts, then for the correlation."""
    counts = [section.counts.toarray().astype(float) for section in sections]
    scaled = np.concatenate([scale_to_totals(section, library) for section in sections])
    return refine_loadings(fit_counts(scaled, np.concatenate(counts), library), sections, counts, library)


def scale_to_totals(section: PooledSection, library: np.ndarray) -> np.ndarray:
    """Scale programs (S, K) so that each shape's expected counts over all genes are those measured."""
    expected = section.programs @ library
    return section.programs * (section.totals / np.maximum(expected, SMALLEST))[:, None]


def fit_counts(scaled: np.ndarray, counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    """Fit by expectation maximization for Poisson counts with a gamma prior around the mean profile.

    Its updates are products, which never leave the positive numbers (Cemgil, Comput. Intell. Neurosci. 2009, 785152).
    """
    share = counts.sum(axis=0) / np.maximum((scaled @ library).sum(), SMALLEST)
    prior = np.maximum(np.outer(library, share), SMALLEST)
    found, exposure = prior.copy(), scaled.sum(axis=0)[:, None]
    for _ in range(ITERATIONS):
        ratio = counts / np.maximum(scaled @ found, SMALLEST)
        found = (found * (scaled.T @ ratio) + PRIOR_COUNTS) / (exposure + PRIOR_COUNTS / prior)
    return found


def refine_loadings(
    loadings: np.ndarray, sections: Sequence[PooledSection], counts: Sequence[np.ndarray], library: np.ndarray
) -> np.ndarray:
    """Take some steps of the training's loss, in logarithms: likelihood at one depth for a section, and correlation.

    Sums over genes, and an optimizer that scales each number on its own: genes do not depend on one another.
    """
    logs = torch.from_numpy(np.log(np.maximum(loadings, SMALLEST))).float().requires_grad_()
    optimizer = torch.optim.Adam([logs], lr=RATE)
    data = [section_tensors(section, own, library) for section, own in zip(sections, counts, strict=True)]
    dispersion = torch.full(logs.shape[1:], DISPERSION)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for programs, measured, depth, expected, profiles in data:
            rates = programs @ logs.exp()
            likelihood = negative_binomial_loss(depth * rates + SMALLEST, measured, dispersion) * measured.shape[1]
            correlations = correlate_columns(torch.log1p(PER * rates / expected), profiles)
            (likelihood + (1 - correlations).sum()).backward()
        optimizer.step()
    return logs.detach().exp().numpy().astype(float)


def section_tensors(section: PooledSection, counts: np.ndarray, library: np.ndarray) -> tuple[Tensor, ...]:
    """Return programs, counts, depth, expected totals (S, 1) and measured log profiles."""
    expected = np.maximum(section.programs @ library, SMALLEST)[:, None]
    depth = section.totals.sum() / expected.sum()
    values = section.programs, counts, depth, expected, log_profile(counts, section.totals)
    return tuple(torch.as_tensor(one, dtype=torch.float32) for one in values)


def log_profiles(programs: np.ndarray, loadings: np.ndarray, library: np.ndarray) -> np.ndarray:
    """Compute (S, G) ln(1 + counts per ten thousand)."""
    return np.log1p(PER * (programs @ loadings) / np.maximum(programs @ library, SMALLEST)[:, None])
