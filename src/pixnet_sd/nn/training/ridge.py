"""Train a ridge regression on exactly pooled features of a frozen encoder, as a dense network. Torch and numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pixnet_sd._errors import warn
from pixnet_sd._metrics.scores import column_means, pearson
from pixnet_sd.nn.model.domain import learn_domain
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.ridge import Fold, RidgeFit, fit_ridge, pad_fit
from pixnet_sd.nn.slides import LEAST_SHAPES, Slide
from pixnet_sd.nn.training.pooled import PooledFeatures, pool_slides
from pixnet_sd.nn.training.prepare import Progress, cached_datasets


def train_ridge(
    slides: Sequence[Slide],
    genes: Sequence[str],
    config: NetworkConfig,
    card: Card,
    *,
    encoder_weights: str | Path | None,
    device: torch.device | str,
    progress: Progress,
) -> Model:
    """Train a model of log expression, with the held-out score of every gene."""
    network = PixNet(replace(config, decoder="readout", head="log"), len(genes), encoder_weights=encoder_weights)
    network.eval().to(device)
    with cached_datasets(network, slides, device, progress) as sets:
        pooled = pool_slides(network, sets, device)
    apart_um = max(config.context_um, default=0.0)
    folds = pooled.folds(apart_um / slides[0].mpp)
    if folds:
        fit = fit_ridge(pooled.features, pooled.profiles, folds, rank=config.programs)
        scores = left_out_scores(pooled, fit, folds, genes)
        card = replace(card, validation=describe_folds(len(folds), len(slides), apart_um), scores=scores)
    else:
        warn_not_scored(slides[0].name, apart_um)
        fit = fit_ridge(pooled.features, pooled.profiles, pooled.touching_folds(), rank=config.programs)
    network.load_ridge(pad_fit(fit, config.programs))
    return Model([network.cpu()], genes, card, stain_domain=learn_domain(slides))


def warn_not_scored(name: str, apart_um: float) -> None:
    warn(
        f"{name} is too small to leave out corners of it in turn, {apart_um:g} µm from the shapes to fit on, where no "
        f"pixels are shared: fewer than {LEAST_SHAPES} shapes would remain. The model has no scores, and "
        "its penalty was chosen with quarters that touch. Train on several sections, or pass a config whose network "
        "has a smaller context_um."
    )


def describe_folds(folds: int, slides: int, apart_um: float) -> str:
    if slides > 1:
        return f"{folds} sections left out in turn"
    return f"{folds} corners of one section left out in turn, {apart_um:g} µm from the training shapes"


def left_out_scores(
    pooled: PooledFeatures, fit: RidgeFit, folds: Sequence[Fold], genes: Sequence[str]
) -> dict[str, float]:
    """Compute the held-out Pearson of each gene, mean over folds."""
    scores = []
    for fold in folds:
        refit = fit_ridge(
            pooled.features[fold.known], pooled.profiles[fold.known], penalties=[fit.penalty], rank=len(fit.loadings)
        )
        scores.append(pearson(refit.predict(pooled.features[fold.left_out]), pooled.profiles[fold.left_out]))
    means = column_means(np.array(scores))
    return {gene: float(mean) for gene, mean in zip(genes, means, strict=True) if np.isfinite(mean)}
