"""Whether a picture looks like what a model has learnt from, before its scores are believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from spatialdata import SpatialData

from pixnet_sd._errors import warn
from pixnet_sd._sdata import affine
from pixnet_sd._settings import logger
from pixnet_sd.nn.inference.seams import measure_seam
from pixnet_sd.nn.model.domain import read_patches
from pixnet_sd.tl._prediction.plan import PredictionPlan

PATCHES, ANYWHERE = 64, 256
"""Looked at where tissue is marked, and where glass is among them."""
STRANGE = 0.5
"""Share of strange patches from which a picture is. Measured in `benchmarks/appearance.py`: sections of the same
patient have up to 0.06, other tissue and synthetic tissue 0.85 and more."""


def warn_if_unfamiliar(job: PredictionPlan) -> None:
    """One warning where most of the tissue looks like none that the model learnt from."""
    known = job.model.appearance
    if known is None or not job.plan:
        return
    share = known.outlier_share(read_patches(job.picture, patch_places(job)))
    if share > STRANGE:
        warn(
            f"{share:.0%} of the patches looked at on image {job.image_key!r} look like none that model "
            f"{job.model.card.name!r} learnt from ({job.model.card.tissue}, {job.model.card.species}): stain, tissue "
            "or µm per pixel are others, and its held-out scores say nothing here. Train on tissue like this, or check "
            "pp.mpp and the order of the channels."
        )


def patch_places(job: PredictionPlan) -> np.ndarray:
    """(n, 2): x and y of places on tissue, if that is marked, in pixels of the picture, from all over it."""
    plan, random, found = job.plan, np.random.default_rng(0), []
    count = ANYWHERE if job.tissue is None else PATCHES
    numbers, counts = np.unique(np.linspace(0, len(plan) - 1, count).astype(int), return_counts=True)
    for number, own in zip(numbers, counts, strict=True):
        window = job.window(plan[number])
        pixels = np.argwhere(job.on_tissue(window))
        found.append(random.choice(pixels, own)[:, ::-1] + (window.x0 + 0.5, window.y0 + 0.5))
    return np.concatenate(found) * job.model.network.stride


def report_cut_edges(sdata: SpatialData, job: PredictionPlan) -> None:
    """Log where a map sees less than it could: an image that does not begin where its coordinates do was cut out."""
    matrices = map(affine.to_matrix, affine.get_transformations(sdata.images[job.image_key]).values())
    if any(matrix[:2, 2].any() for matrix in matrices):
        seen_um = job.model.network.margin * job.model.mpp
        logger.info(
            "%r seems to be cut out of a larger image: within %.0f µm of a cut, a pixel sees less of what surrounds it "
            "and gets other values. Predict the whole image, then crop the map",
            job.image_key,
            seen_um,
        )


def report_seam(job: PredictionPlan, *, device: str | None = None) -> None:
    """Looks at some windows in the middle of the work; for encoders without windows it costs nothing.

    `device` is where to compute them, if not where the work is done: a driver may lack what its workers have.
    """
    if not job.plan:
        return
    how = replace(job.how, device=device or job.how.device)
    found = measure_seam(job.model.network, job.picture, job.plan[len(job.plan) // 2].core, how)
    if found is not None:
        encoder = job.model.network.members[0].config.encoder
        logger.info("seams: across the windows of %r the map changes %.2f times as much as within them", encoder, found)
