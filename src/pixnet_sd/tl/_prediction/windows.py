"""How large tiles are where only some places of a picture are asked for: small ones leave out more, and repeat more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pixnet_sd._raster.grid import round_up
from pixnet_sd._settings import logger
from pixnet_sd.nn.network.ensemble import Ensemble
from pixnet_sd.tl._prediction.plan import PredictionPlan

PARTS = (1, 2, 4)
"""Tiles of these parts of the usual side are weighed. The margin is wider than smaller ones, which gain little."""


def fit_tiles(plan: PredictionPlan, bounds: Sequence[np.ndarray]) -> PredictionPlan:
    """Choose the tiles that need the fewest pixels for shapes with these bounds, in pixels of the raster."""
    if not (rows := np.concatenate(bounds)).size:
        return plan
    network, asked = plan.model.network, rows[np.isfinite(rows).all(axis=1)] * plan.model.network.stride
    sides = dict.fromkeys(round_up(plan.how.tile_px // part, network.alignment) for part in PARTS)
    costs = {side: count_pixels(network, asked, plan.picture.grid.shape, side) for side in sides}
    side = min(costs, key=lambda one: costs[one])
    told = ", ".join(f"{cost / 1e6:.1f} in tiles of {one} px" for one, cost in costs.items())
    logger.info("%d shapes take as many million pixels: %s; so tiles of %d px", len(rows), told, side)
    return replace(plan, how=replace(plan.how, tile_px=side))


def count_pixels(network: Ensemble, bounds: np.ndarray, shape: tuple[int, int], side: int) -> float:
    """Count the pixels that are encoded in all tiles that meet a shape, margins included."""
    height, width = (min(side, round_up(length, network.alignment)) for length in shape)
    near, far = 2 * (network.margin - network.rim), 2 * network.margin
    overview = max(member.config.overview for member in network.members)
    afar = (height + far) * (width + far) / overview**2 if overview else 0.0
    return count_met(bounds, shape, (height, width)) * ((height + near) * (width + near) + afar)


def count_met(bounds: np.ndarray, shape: tuple[int, int], tile: tuple[int, int]) -> int:
    """Count the tiles of a picture that meet the bounds (x0, y0, x1, y1) of a shape."""
    rows, columns = (-(-length // side) for length, side in zip(shape, tile, strict=True))
    x0, y0, x1, y1 = bounds.T
    left, right = np.floor(x0 / tile[1]).clip(0, columns), np.ceil(x1 / tile[1]).clip(0, columns)
    top, bottom = np.floor(y0 / tile[0]).clip(0, rows), np.ceil(y1 / tile[0]).clip(0, rows)
    steps = np.zeros((rows + 1, columns + 1), np.int64)
    for y, x, step in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        np.add.at(steps, (y.astype(int), x.astype(int)), step)
    return int((steps.cumsum(axis=0).cumsum(axis=1) > 0).sum())
