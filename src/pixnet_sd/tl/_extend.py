"""Add genes to a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Literal

import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._metrics.reliable import find_reliable
from pixnet_sd._metrics.scores import column_means, log_profile, pearson_or_zero, pearson_residuals, score_residuals
from pixnet_sd._raster.grid import Tile
from pixnet_sd._sdata.counts import asked_genes
from pixnet_sd._settings import logger
from pixnet_sd._zonal.aggregate import Accumulator
from pixnet_sd.nn.inference import predict as nn_predict
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.heads import HEADS
from pixnet_sd.nn.slides import MeasuredSet, Slide
from pixnet_sd.nn.training.loadings import PooledSection, fit_loadings, log_profiles
from pixnet_sd.nn.training.pooled import find_corners
from pixnet_sd.tl._slides import FoundSection, ReadOptions, find_measured_sections, read_slide
from pixnet_sd.tl._train import describe_data, list_sections

# Of all sections together; the profile of fewer counts is that of the mean.
LEAST_COUNTS = 30
DECIMALS = 4


def extend(
    model: Model,
    sections: SpatialData | Sequence[SpatialData],
    *,
    genes: Sequence[str] | Literal["all"] = "all",
    image_key: str | Sequence[str] | None = None,
    shapes_key: str | Sequence[str] | None = None,
    table_key: str | Sequence[str] | None = None,
    layer: str | None = None,
    refit: bool = False,
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    device: str | None = None,
) -> Model:
    """Add genes to a trained model of rates, from sections where these were measured.

    The networks stay as they are: their programs are pooled over the measured shapes, exactly, and each gene's
    non-negative loadings are fitted to its raw counts. Genes of few counts are drawn to the mean profile. So a model of
    a panel becomes one of a transcriptome by a single section, in a minute.

    Scores of the new genes come from leaving out one section in turn, or quarters of the only one. They say what the
    loadings are worth, and nothing of other slides if the model itself was trained on these sections.

    Parameters
    ----------
    model
        A model of rates, trained on similar tissue. It is not changed.
    sections
        One or several objects with an H&E image, shapes, and raw counts.
    genes
        Genes to add; ``"all"`` for those that all sections have, with at least 30 counts over them.
    image_key, shapes_key, table_key, layer, value_range, allow_upsample
        As in ``tl.train``.
    refit
        Also fit the loadings of the model's own genes again. By default they and their scores stay as they are.
    device
        ``"cpu"``, ``"cuda"`` or ``"mps"``; by default the fastest there is.

    Returns
    -------
    A model with the old genes and the new ones. ``model.card`` has a score of each new gene, the correlation of its
    Pearson residuals, and which genes are reliable: predicted better than by one map for all genes.

    Raises
    ------
    PixnetValueError
        If the model is not one of rates, or the sections share no gene with it, which sets the scale of counts.

    See Also
    --------
    pixnet_sd.tl.train : Train a model.
    pixnet_sd.tl.predict : Predict a map with the model.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> first = sdata["bins_8um_counts"].var_names[:8]
    >>> few = ps.TrainConfig(steps=20)
    >>> model = ps.tl.train(sdata, table_key="bins_8um_counts", genes=first, config=few, progress=False)
    >>> larger = ps.tl.extend(model, sdata, table_key="bins_8um_counts")
    >>> len(model.genes), len(larger.genes) > 20
    (8, True)
    """
    check_rates(model)
    found = find_measured_sections(list_sections(sections), image_key, shapes_key, table_key)
    own, new = choose_genes(model, found, None if isinstance(genes, str) else asked_genes(genes), refit)
    reading = ReadOptions(layer, [*own, *new], model.mpp, value_range, allow_upsample)
    slides = [read_slide(section, f"section {n}", reading) for n, section in enumerate(found, 1)]
    measured = [(slide, counted_shapes(one)) for slide in slides for one in slide.measured]
    pooled = [pool_programs(model, *pair, device) for pair in measured]
    places = [one.shapes.centroid for _, one in measured]
    library = measure_library(model, own, pooled)
    new = [*(own if refit else []), *frequent_genes([*own, *new], new, pooled, asked=not isinstance(genes, str))]
    fitted = [take_genes(one, [*own, *reading.genes[len(own) :]], new) for one in pooled]
    card = score_genes(model.card, new, fitted, places, library)
    card = replace(card, data=f"{card.data}; {len(new)} genes added from {describe_data(slides)}")
    return model.join_genes(new, fit_loadings(fitted, library), card)


def check_rates(model: Model) -> None:
    if not isinstance(model, Model):
        raise PixnetTypeError(f"model must be a Model; got {type(model).__name__}. Load it: ps.Model.load(name).")
    if not HEADS[model.network.members[0].config.head].additive:
        raise PixnetValueError(
            f"Only models of rates can be extended; this one predicts {model.unit!r}. Train it with all its genes: "
            "a ridge takes seconds."
        )


def choose_genes(
    model: Model, found: Sequence[FoundSection], asked: Sequence[str] | None, refit: bool
) -> tuple[list[str], list[str]]:
    """Return the model's genes that all sections have, and the genes to add."""
    names = [
        section.sdata.tables[keys.table].var_names.astype(str) for section in found for keys in section.keys.measured
    ]
    shared: pd.Index = reduce(lambda one, other: one.intersection(other, sort=False), names)
    own = [gene for gene in model.genes if gene in shared]
    if not own:
        raise PixnetValueError(
            f"The sections have none of the model's {len(model.genes)} genes, such as {list(model.genes[:3])}; theirs "
            f"are like {list(shared[:3])}. Shared genes tell how deep the sections were sequenced: name genes alike."
        )
    wanted = list(shared) if asked is None else asked
    missing = [gene for gene in wanted if gene not in shared]
    if missing:
        raise PixnetValueError(f"{len(missing)} genes to add are not in all sections, such as {missing[:3]}.")
    return own, [gene for gene in wanted if gene not in set(model.genes)]


def counted_shapes(measured: MeasuredSet) -> MeasuredSet:
    """Leave out shapes without any counts, which have no profile."""
    return measured.take(np.flatnonzero(measured.totals > 0))


def pool_programs(model: Model, slide: Slide, measured: MeasuredSet, device: str | None) -> PooledSection:
    """Predict programs around the measured shapes and pool them, weighted by covered area in µm²."""
    network, how = model.network, nn_predict.resolve_inference(model.network, device=device)
    pooling = Accumulator(measured.shapes.scaled(1 / network.stride), len(network.loadings))

    def is_met(tile: Tile) -> bool:
        return bool(pooling.finder.meeting(nn_predict.block_window(tile, network)).size)

    plan = [tile for tile in nn_predict.plan_tiles(network, slide.picture, how) if is_met(tile)]
    for window, block in nn_predict.predict_blocks(network, slide.picture, plan, how):
        pooling.add(window, block)
    area_um2 = (network.stride * slide.mpp) ** 2
    return PooledSection(pooling.result().values * area_um2, measured.counts, measured.totals)


def measure_library(model: Model, own: Sequence[str], pooled: Sequence[PooledSection]) -> np.ndarray:
    """Compute the loadings (K,) of all counts together, from those of the genes that model and sections share."""
    columns = pd.Index(model.genes).get_indexer(pd.Index(own))
    counts = sum(float(one.counts[:, : len(own)].sum()) for one in pooled)
    totals: float = sum(float(one.totals.sum()) for one in pooled)
    if not counts:
        raise PixnetValueError(f"The sections have no counts of the {len(own)} genes that the model shares with them.")
    return model.loadings[:, columns].sum(axis=1).astype(float) * (totals / counts)


def frequent_genes(names: Sequence[str], new: Sequence[str], pooled: Sequence[PooledSection], asked: bool) -> list[str]:
    """Leave out genes of few counts, unless they were asked for by name."""
    counted = np.sum([np.asarray(one.counts.sum(axis=0)).ravel() for one in pooled], axis=0)
    sums = dict(zip(names, counted, strict=True))
    kept = [gene for gene in new if asked or sums[gene] >= LEAST_COUNTS]
    if len(kept) < len(new):
        logger.info("%d genes with fewer than %d counts are left out", len(new) - len(kept), LEAST_COUNTS)
    return kept


def take_genes(section: PooledSection, names: Sequence[str], genes: Sequence[str]) -> PooledSection:
    columns = pd.Index(names).get_indexer(pd.Index(genes))
    return replace(section, counts=section.counts[:, columns])


def score_genes(
    card: Card,
    genes: Sequence[str],
    sections: Sequence[PooledSection],
    places: Sequence[np.ndarray],
    library: np.ndarray,
) -> Card:
    """Add held-out scores of the new genes to a card."""
    compared, logs, residuals = [], [], []
    for known, left_out in leave_out(sections, places):
        predicted = log_profiles(left_out.programs, fit_loadings(known, library), library)
        counts = left_out.counts.toarray()
        logs.append(pearson_or_zero(predicted, log_profile(counts, left_out.totals)))
        residuals.append(score_residuals(predicted, counts, left_out.totals))
        compared.append((np.expm1(predicted), pearson_residuals(counts, left_out.totals)))
    reliable = [gene for gene, better in zip(genes, find_reliable(compared), strict=True) if better]
    scores, others = (name_scores(genes, column_means(np.array(found))) for found in (logs, residuals))
    kept = [gene for gene in card.reliable or card.scores if gene not in others]
    return replace(
        card,
        scores={**card.scores, **scores},
        residuals={**card.residuals, **others},
        reliable=(*kept, *reliable),
    )


def leave_out(
    sections: Sequence[PooledSection], places: Sequence[np.ndarray]
) -> list[tuple[list[PooledSection], PooledSection]]:
    """Split into what is known and what is left out: each section in turn, or quarters of the only one."""
    if len(sections) > 1:
        return [([one for one in sections if one is not out], out) for out in sections]
    (only,), (centers,) = sections, places
    corners = find_corners(centers, 2)
    return [([only.take(np.flatnonzero(~corner))], only.take(np.flatnonzero(corner))) for corner in corners]


def name_scores(genes: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    pairs = zip(genes, scores.round(DECIMALS).tolist(), strict=True)
    return {gene: score for gene, score in pairs if np.isfinite(score)}
