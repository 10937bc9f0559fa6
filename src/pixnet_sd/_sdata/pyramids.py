"""Image elements whose coarser levels exist already, as in the file that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from spatialdata.transformations import set_transformation

from pixnet_sd._sdata import build


def from_levels(levels: Sequence[da.Array], channels: Sequence[str], transformations: build.Transformations) -> Any:
    """An image element from (c, y, x) of each level, finest first. A single level gets coarser ones of its means."""
    finest = levels[0]
    if len(levels) == 1:
        return build.image(finest, channels, transformations, pyramid=True, chunks=chunks_of(finest))
    nodes = {f"scale{k}": level_node(level, channels, finest.shape) for k, level in enumerate(levels)}
    element = xr.DataTree.from_dict(nodes)
    set_transformation(element, transformations, set_all=True)
    return element


def level_node(level: da.Array, channels: Sequence[str], finest: tuple[int, ...]) -> xr.Dataset:
    """One level, its pixels' centres in pixels of the finest."""
    pixels = build.image(level, channels, {}, chunks=chunks_of(level))
    centres = {
        axis: (np.arange(n) + 0.5) * (of / n) for axis, n, of in zip("yx", level.shape[1:], finest[1:], strict=True)
    }
    return xr.Dataset({"image": pixels.assign_coords(centres)})


def chunks_of(level: da.Array) -> tuple[int, int, int]:
    c, y, x = (int(side) for side in level.chunksize)
    return c, y, x
