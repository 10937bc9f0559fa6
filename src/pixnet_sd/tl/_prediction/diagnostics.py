"""Whether a picture looks like what a model has learnt from, before its scores are believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pixnet_sd._errors import warn
from pixnet_sd._raster.grid import Window
from pixnet_sd._sdata import affine
from pixnet_sd._settings import logger
from pixnet_sd.nn.inference.seams import measure_seam
from pixnet_sd.nn.model.domain import read_patches
from pixnet_sd.tl._prediction.plan import PredictionPlan

PATCHES, ANYWHERE = 64, 256
"""Looked at where tissue is marked, and where glass is among them."""
STRANGE = 0.5
"""Share of strange patches from which a picture is. Measured in `benchmarks/stain_domain.py`: sections of the same
patient have up to 0.06, other tissue and synthetic tissue 0.85 and more."""


def measure_outliers(plan: PredictionPlan) -> float | None:
    """Measure the share of patches outside of the model's stain domain; None where it has none."""
    known = plan.model.stain_domain
    if known is None or not plan.tiles:
        return None
    return known.outlier_share(read_patches(plan.picture, patch_places(plan)))


def warn_if_unfamiliar(plan: PredictionPlan, share: float | None) -> None:
    """Warn if most of the patches are outside of the model's stain domain."""
    card = plan.model.card
    if share is not None and share > STRANGE:
        warn(
            f"{share:.0%} of the patches looked at on image {plan.image_key!r} look like none that model "
            f"{card.name!r} learnt from ({card.tissue}, {card.species}): stain, tissue or µm per pixel are others, and "
            "its held-out scores say nothing here. Train on tissue like this, or check pp.mpp and the order of the "
            "channels."
        )


def report_tiles(plan: PredictionPlan) -> None:
    """Log how much of an image is left out."""
    if len(plan.tiles) < len(plan.all_tiles):
        logger.info("%d of %d tiles hold tissue; the others are not computed", len(plan.tiles), len(plan.all_tiles))


def patch_places(plan: PredictionPlan) -> np.ndarray:
    """(n, 2): x and y of places on tissue, if that is marked, in pixels of the picture, from all over it."""
    tiles, random, found = plan.tiles, np.random.default_rng(0), []
    count = ANYWHERE if plan.tissue is None else PATCHES
    numbers, counts = np.unique(np.linspace(0, len(tiles) - 1, count).astype(int), return_counts=True)
    for number, own in zip(numbers, counts, strict=True):
        window = plan.window(tiles[number])
        pixels = np.argwhere(plan.on_tissue(window))
        found.append(random.choice(pixels, own)[:, ::-1] + (window.x0 + 0.5, window.y0 + 0.5))
    return np.concatenate(found) * plan.model.network.stride


def report_cut_edges(plan: PredictionPlan) -> None:
    """Log where a map sees less than it could: an image that does not begin where its coordinates do was cut out.

    Where it does, tissue at its edge may be cut as well.
    """
    if any(affine.to_matrix(onwards)[:2, 2].any() for onwards in plan.transformations.values()):
        logger.info(
            "%r seems to be cut out of a larger image: within %.0f µm of a cut, a pixel sees less of what surrounds it "
            "and gets other values. Predict the whole image, then crop the map",
            plan.image_key,
            plan.model.network.margin * plan.model.mpp,
        )
    else:
        report_edges(plan)


def report_edges(plan: PredictionPlan) -> None:
    """Log where tissue reaches the edge of an image, which may have been cut there."""
    height, width = plan.grid.shape
    sides = Window(0, 0, 1, width), Window(height - 1, 0, height, width), Window(0, 0, height, 1)
    if any(plan.on_tissue(side).any() for side in (*sides, Window(0, width - 1, height, width))):
        logger.info(
            "tissue reaches the edge of %r: where it goes on beyond, a pixel within %.0f µm of the edge sees less of "
            "what surrounds it and gets other values; predict the whole image, then crop the map",
            plan.image_key,
            plan.model.network.margin * plan.model.mpp,
        )


def report_seam(plan: PredictionPlan, *, device: str | None = None) -> None:
    """Look at some windows in the middle of the work; for encoders without windows it costs nothing.

    `device` is where to compute them, if not where the work is done: a driver may lack what its workers have.
    """
    if not plan.tiles:
        return
    how = replace(plan.how, device=device or plan.how.device)
    found = measure_seam(plan.model.network, plan.picture, plan.tiles[len(plan.tiles) // 2].core, how)
    if found is not None:
        encoder = plan.model.network.members[0].config.encoder
        logger.info("seams: across the windows of %r the map changes %.2f times as much as within them", encoder, found)
