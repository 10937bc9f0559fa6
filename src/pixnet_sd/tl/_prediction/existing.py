"""Whether a map that is there already is the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isclose, prod, sqrt
from typing import Any

from pixnet_sd._errors import PixnetKeyError
from pixnet_sd._sdata import affine
from pixnet_sd._sdata.provenance import get_record
from pixnet_sd._sdata.storage.growing import partial_folder
from pixnet_sd._settings import logger
from pixnet_sd.tl._prediction.plan import PredictionPlan
from pixnet_sd.tl._prediction.writer import MapWriter

SAME_MPP = 1e-6
"""µm per pixel that differ by this share are the same number."""


def is_there(writer: MapWriter) -> bool:
    """Return whether the map exists and nothing of it waits beside the store; one that was made otherwise is an error.

    Where it may be overwritten, none is there.
    """
    sdata, plan, key = writer.sdata, writer.plan, writer.names.programs
    made = get_record(sdata, key) if key in sdata.images and not plan.options.overwrite else None
    if made is None or made.get("kind") != "programs":
        return False
    if sdata.is_backed() and partial_folder(sdata, key).exists():
        return False
    # In tiles of the same size, because the digest of the tissue depends on them.
    asked = replace(plan, how=replace(plan.how, tile_px=made.get("tile_px", plan.how.tile_px)))
    scale = affine.area_scale(affine.matrix_between(sdata, key, plan.image_key))
    if found := describe_differences(made, asked, made["mpp"] / scale):
        raise PixnetKeyError(
            f"{key!r} is there already and is not what is asked for now: {'; '.join(found)}. Pass overwrite=True to "
            "replace it, or repeat the options it was made with to keep it."
        )
    logger.info("%r is there already, as asked for", key)
    return True


def describe_differences(made: Mapping[str, Any], asked: PredictionPlan, mpp_before: float) -> list[str]:
    """Describe what changes the values of a map; `mpp_before` is that of its image, by the map's place on it."""
    told, now = [], asked.facts
    if made["sha256"] != now["sha256"]:
        told.append(
            f"it was made by the model {made['model']!r} ({made['sha256'][:8]}), not by {now['model']!r} "
            f"({now['sha256'][:8]})"
        )
    if made.get("augment", False) != now["augment"]:
        told.append(f"it was made with augment={made.get('augment', False)}")
    if made.get("tissue_digest") != now["tissue_digest"]:
        told.append("other tissue was marked, or none, when it was made (tissue_key)")
    mpp = asked.mpp / sqrt(prod(asked.grid.step))
    if not isclose(mpp_before, mpp, rel_tol=SAME_MPP):
        told.append(f"the image was taken to have {mpp_before:.4g} µm per pixel, not {mpp:.4g} (mpp)")
    return told
