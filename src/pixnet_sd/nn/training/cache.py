"""Features of a frozen encoder over a slide, computed once and kept on disk. Torch and numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
import torch
from torch import Tensor

from pixnet_sd._files import check_room
from pixnet_sd._raster.grid import Tile, Window, make_tiles, round_up
from pixnet_sd.nn.inference.tiling import over_tiles
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.views import VIEWS, view_picture
from pixnet_sd.nn.ops import FeatureSource
from pixnet_sd.nn.slides import Slide
from pixnet_sd.nn.training.crops import Crop

TILE_PX = 1024
PRECISION = np.float16
"""Half of the space; features are standardised before they are used, so a thousandth of them does not matter."""


@dataclass(frozen=True)
class FeatureCache:
    """Maps of one slide where they were computed; elsewhere they are zero."""

    maps: tuple[np.ndarray, ...]
    """One (c, y, x) for each source."""
    strides: tuple[int, ...]

    def read(self, crops: Sequence[Crop], device: torch.device | str) -> list[Tensor]:
        """One (B, c, h, w) for each source."""
        pairs = zip(self.maps, self.strides, strict=True)
        return [
            torch.from_numpy(np.stack([cut_map(m, crop.window, s) for crop in crops])).to(device).float()
            for m, s in pairs
        ]


def cut_map(maps: np.ndarray, window: Window, stride: int) -> np.ndarray:
    """A window of a map; beyond the slide, its edge is repeated."""
    wanted = window.coarsened(stride)
    inside = wanted.clip(Window(0, 0, *maps.shape[1:]))
    beyond = [(0, 0), (inside.y0 - wanted.y0, wanted.y1 - inside.y1), (inside.x0 - wanted.x0, wanted.x1 - inside.x1)]
    rows, columns = inside.slices
    return maps[:, rows, columns] if inside == wanted else np.pad(maps[:, rows, columns], beyond, mode="edge")


def cache_features(
    network: PixNet,
    slide: Slide,
    crops: Sequence[Crop],
    folder: Path,
    *,
    view: tuple[int, bool] = VIEWS[0],
    device: torch.device | str = "cpu",
    tick: Callable[[int], object],
) -> FeatureCache:
    """All that the network's decoder will be given on these crops, as it sees the slide in one of its `VIEWS`.

    `tick(1)` is called after each tile.
    """
    features = network.features
    plan = needed_bytes(tiles_of(network, slide), crops)
    strides = tuple(source.stride for source in features.sources)
    check_room(
        folder, bytes_of(plan, features.sources), f"Features of {slide.name}", otherwise="let TMPDIR name a larger disk"
    )
    maps = [new_map(folder / f"{n}.npy", slide, source) for n, source in enumerate(features.sources)]
    for finished in over_tiles(view_picture(features, *view), slide.picture, plan, strides, device=device):
        for target, computed, stride in zip(maps, finished.maps, strides, strict=True):
            rows, columns = finished.core.coarsened(stride).slices
            target[:, rows, columns] = computed
        tick(1)
    return FeatureCache(tuple(maps), strides)


def tiles_of(network: PixNet, slide: Slide) -> list[Tile]:
    height, width = slide.picture.grid.shape
    size = round_up(TILE_PX, network.alignment)
    return list(make_tiles(height, width, size=size, stride=network.alignment, margin=network.margin))


def new_map(path: Path, slide: Slide, source: FeatureSource) -> np.ndarray:
    """A file of zeros, which takes no space where nothing is written."""
    height, width = (-(-side // source.stride) for side in slide.picture.grid.shape)
    return np.lib.format.open_memmap(path, "w+", PRECISION, (source.channels, height, width))


def bytes_of(plan: Sequence[Tile], sources: Sequence[FeatureSource]) -> int:
    """Of a disk that runs full under a mapped file, a process learns by a signal that ends it."""
    pixels = sum(tile.core.area for tile in plan)
    return sum(pixels // source.stride**2 * source.channels * np.dtype(PRECISION).itemsize for source in sources)


def needed_bytes(plan: Sequence[Tile], crops: Sequence[Crop]) -> list[Tile]:
    """The tiles whose cores meet a crop."""
    cores = shapely.box(*np.array([(t.core.x0, t.core.y0, t.core.x1, t.core.y1) for t in plan]).T)
    windows = shapely.box(*np.array([(c.window.x0, c.window.y0, c.window.x1, c.window.y1) for c in crops]).T)
    met = np.unique(shapely.STRtree(cores).query(windows)[1])
    return [plan[number] for number in met]
