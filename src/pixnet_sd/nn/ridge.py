"""The quick model: frozen features, exactly pooled, and a ridge regression, as a dense network. Torch and numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pixnet_sd._scores import pearson
from pixnet_sd.nn import appearance
from pixnet_sd.nn.model import Card, Model
from pixnet_sd.nn.network import NetworkConfig, PixNet
from pixnet_sd.nn.pooled import Pooled, pool_slides
from pixnet_sd.nn.prepared import Bar, prepared
from pixnet_sd.nn.readout import Readout, RidgeFit, fit_ridge, padded
from pixnet_sd.nn.slides import Slide


def train_ridge(
    slides: Sequence[Slide],
    genes: Sequence[str],
    config: NetworkConfig,
    card: Card,
    *,
    encoder_weights: str | Path | None,
    device: torch.device | str,
    bar: Bar,
) -> Model:
    """A model of log expression, with the score of every gene where it was left out."""
    network = PixNet(replace(config, decoder="readout", head="log"), len(genes), encoder_weights=encoder_weights)
    network.eval().to(device)
    assert isinstance(network.decoder, Readout)
    with prepared(network, slides, device, bar) as ready:
        pooled = pool_slides(network, network.decoder, ready, device)
    fit = fit_ridge(pooled.features, pooled.profiles, pooled.groups, rank=config.programmes)
    network.start_at_ridge(padded(fit, config.programmes))
    known = replace(card, validation=left_out(pooled, slides), scores=scores_of(pooled, fit, genes))
    return Model([network.cpu()], genes, known, appearance=appearance.learn(slides))


def left_out(pooled: Pooled, slides: Sequence[Slide]) -> str:
    what = "sections" if len(slides) > 1 else "blocks of one section"
    return f"{len(np.unique(pooled.groups))} {what} left out in turn"


def scores_of(pooled: Pooled, fit: RidgeFit, genes: Sequence[str]) -> dict[str, float]:
    """Pearson of each gene in groups that were left out, mean over groups."""
    scores = []
    for group in np.unique(pooled.groups):
        out = pooled.groups == group
        known = pooled.features[~out], pooled.profiles[~out], pooled.groups[~out]
        refit = fit_ridge(*known, penalties=[fit.penalty], rank=len(fit.loadings))
        scores.append(pearson(refit.predict(pooled.features[out]), pooled.profiles[out]))
    means = np.nanmean(scores, axis=0)
    return {gene: float(mean) for gene, mean in zip(genes, means, strict=True) if np.isfinite(mean)}
