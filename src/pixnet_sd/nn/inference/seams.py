"""Whether a map shows the fixed windows of its encoder. Torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pixnet_sd._raster.grid import Window, round_up
from pixnet_sd._raster.picture import Picture
from pixnet_sd.nn.inference.predict import InferenceConfig, plan_tiles, predict_blocks
from pixnet_sd.nn.network.ensemble import Ensemble

# Number of windows measured, along each side.
WINDOWS = 3


def measure_seam(network: Ensemble, picture: Picture, near: Window, config: InferenceConfig) -> float | None:
    """Measure how much more the map changes across the windows' borders than elsewhere, at some windows near a place.

    1 where no seam shows; None without windows.
    """
    side_px = max(encoder.window_px or 0 for encoder in network.encoders)
    if not side_px:
        return None
    few = replace(
        config,
        tile_px=round_up(WINDOWS * side_px, network.alignment),
        batch_size=1,
        augment=False,
        compile=False,
        backend="torch",  # a conversion for tiles of this size would take longer than the few windows
    )
    tiles = plan_tiles(network, picture, few)
    nearest = min(tiles, key=lambda tile: abs(tile.core.y0 - near.y0) + abs(tile.core.x0 - near.x0))
    ((window, block),) = predict_blocks(network, picture, [nearest], few)
    period = side_px // network.stride
    parts = [mean_changes(block, window.x0, period), mean_changes(block.swapaxes(1, 2), window.y0, period)]
    across, within = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return float(across.mean() / within.mean()) if len(across) and within.mean() > 0 else 1.0


def mean_changes(block: np.ndarray, first: int, period: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean absolute steps from column to column of (K, y, x): those across borders, and the others."""
    steps = np.abs(np.diff(block, axis=2)).mean(axis=(0, 1))
    at_border = (first + 1 + np.arange(len(steps))) % period == 0
    return steps[at_border], steps[~at_border]
