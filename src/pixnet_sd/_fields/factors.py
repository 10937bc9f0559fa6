"""Counts of shapes, explained by programs, their ratio fields and loadings. numpy and scipy only.

Expected counts of shape s and gene g are sum over k of P[s, k] f[k](s) H[k, g]: P are integrals of a map's programs
over the shapes, H loadings, f smooth positive fields that are 1 where nothing was measured. Counts are Poisson. Fields
and loadings have gamma priors around 1 and around the model's loadings, so each step of expectation maximization is a
ratio of counts: (found + prior) / (expected + prior).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from pixnet_sd._fields.lattice import Lattice

ITERATIONS = 15
BLOCK_VALUES = 2**22
"""Dense values of counts at a time, so that half a million bins need no dense table."""
TINY = 1e-12


@dataclass(frozen=True)
class Evidence:
    """What was measured of n shapes, and what the map says of them."""

    programs: np.ndarray
    """(n, programs), integrals over the shapes."""
    counts: csr_array
    """(n, genes), raw."""
    centers_px: np.ndarray
    """(n, 2), x and y in pixels of the raster."""

    def take(self, rows: np.ndarray) -> Evidence:
        return Evidence(self.programs[rows], self.counts[rows], self.centers_px[rows])

    def of_genes(self, columns: np.ndarray) -> Evidence:
        return replace(self, counts=self.counts[:, columns])

    @property
    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Dense counts, some shapes at a time."""
        step = max(1, BLOCK_VALUES // self.counts.shape[1])
        for start in range(0, len(self.programs), step):
            rows = slice(start, start + step)
            yield rows, self.counts[rows].toarray().astype(float)


@dataclass(frozen=True)
class Prior:
    """How far counts may move the map."""

    length_px: float
    """Standard deviation of the kernel of the fields."""
    strength: float
    """Weight of one shape with average counts against the map; 0 keeps all fields at 1."""
    loading_counts: float
    """Counts that the model's own loading of a gene is worth; infinite keeps loadings."""


@dataclass(frozen=True)
class Fit:
    """A map that was fitted to counts."""

    lattice: Lattice
    fields: np.ndarray
    """(nodes, programs), positive."""
    loadings: np.ndarray
    """(programs, genes)."""

    def predict(self, programs: np.ndarray, centers_px: np.ndarray) -> np.ndarray:
        """Compute expected counts (shapes, genes)."""
        return (programs * (self.lattice.weights_at(centers_px) @ self.fields)) @ self.loadings


def calibrate(evidence: Evidence, loadings: np.ndarray) -> np.ndarray:
    """Scale each gene so that expected counts add up to those measured, as far as there are counts to tell."""
    found = np.asarray(evidence.counts.sum(axis=0)).ravel()
    return loadings * (found + 1) / (evidence.programs.sum(axis=0) @ loadings + 1)


def fit_map(evidence: Evidence, loadings: np.ndarray, shape: tuple[int, int], prior: Prior) -> Fit:
    """Fit fields and loadings to the counts of shapes on a raster of `shape` pixels."""
    lattice = Lattice.of_length(shape, prior.length_px)
    weights = lattice.weights_at(evidence.centers_px)
    before = calibrate(evidence, loadings)
    fit = Fit(lattice, np.ones((lattice.size, len(loadings))), before)
    for _ in range(ITERATIONS):
        if prior.strength > 0:
            fit = replace(fit, fields=update_fields(evidence, weights, fit, prior.strength))
        if np.isfinite(prior.loading_counts):
            fit = replace(fit, loadings=update_loadings(evidence, weights, fit, before, prior.loading_counts))
    return fit


def update_fields(evidence: Evidence, weights: csr_array, fit: Fit, strength: float) -> np.ndarray:
    """Compute found over expected counts of each program around each node."""
    scaled = evidence.programs * (weights @ fit.fields)
    found = np.empty_like(scaled)
    for rows, counts in evidence.blocks:
        share = counts / np.maximum(scaled[rows] @ fit.loadings, TINY)
        found[rows] = scaled[rows] * (share @ fit.loadings.T)
    expected = evidence.programs * fit.loadings.sum(axis=1)
    worth = expected.mean(axis=0) / strength + TINY
    smooth, nodes = fit.lattice.smooth, weights.T
    return (smooth(nodes @ found) + worth) / (smooth(nodes @ expected) + worth)


def update_loadings(evidence: Evidence, weights: csr_array, fit: Fit, before: np.ndarray, worth: float) -> np.ndarray:
    """Compute found over expected counts of each gene in each program, beside what the model says."""
    scaled = evidence.programs * (weights @ fit.fields)
    found = np.zeros_like(fit.loadings)
    for rows, counts in evidence.blocks:
        found += scaled[rows].T @ (counts / np.maximum(scaled[rows] @ fit.loadings, TINY))
    expected = scaled.sum(axis=0)[:, None] + worth / np.maximum(before, TINY)
    return (fit.loadings * found + worth) / expected
