"""Features of a frozen encoder over a slide, computed once and kept on disk: maps, or some pixels. Torch and numpy."""

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
from pixnet_sd.nn.encoders.vit import remembered_windows
from pixnet_sd.nn.inference.tiling import over_tiles
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.views import VIEWS, view_picture
from pixnet_sd.nn.ops import FeatureSource
from pixnet_sd.nn.slides import Slide
from pixnet_sd.nn.training.crops import Crop

# Larger than where maps are predicted: half of a small tile is margin.
TILE_PX = 2048
# Of encoders with windows: few are encoded for nothing around single spots, and none twice.
WINDOWED_TILE_PX = 512
# Half of the space; features are standardized before they are used, so a thousandth of them does not matter.
PRECISION = np.float16


@dataclass(frozen=True)
class FeatureCache:
    """Maps of one slide where they were computed, zero elsewhere."""

    maps: tuple[np.ndarray, ...]
    """One (c, y, x) for each source."""
    strides: tuple[int, ...]

    def read(self, crops: Sequence[Crop], device: torch.device | str) -> list[Tensor]:
        """Read one (B, c, h, w) for each source."""
        pairs = zip(self.maps, self.strides, strict=True)
        return [
            torch.from_numpy(np.stack([cut_map(m, crop.window, s) for crop in crops])).to(device).float()
            for m, s in pairs
        ]


def cut_map(maps: np.ndarray, window: Window, stride: int) -> np.ndarray:
    """Cut a window out of a map; beyond the slide, its edge is repeated."""
    outer = window.coarsened(stride)
    inside = outer.clip(Window(0, 0, *maps.shape[1:]))
    beyond = [(0, 0), (inside.y0 - outer.y0, outer.y1 - inside.y1), (inside.x0 - outer.x0, outer.x1 - inside.x1)]
    rows, columns = inside.slices
    return maps[:, rows, columns] if inside == outer else np.pad(maps[:, rows, columns], beyond, mode="edge")


def cache_features(
    network: PixNet,
    slide: Slide,
    crops: Sequence[Crop],
    folder: Path,
    *,
    view: tuple[int, bool] = VIEWS[0],
    device: torch.device | str = "cpu",
    advance: Callable[[int], object],
) -> FeatureCache:
    """Compute the decoder's inputs on these crops, with the slide rotated or mirrored as in `VIEWS`.

    `advance(1)` is called after each tile.
    """
    features = network.features
    plan = needed_tiles(network, slide, crops)
    strides = tuple(source.stride for source in features.sources)
    check_room(
        folder,
        map_bytes(plan, features.sources),
        f"Features of {slide.name}",
        otherwise="let TMPDIR name a larger disk",
    )
    maps = [create_map(folder / f"{n}.npy", slide, source) for n, source in enumerate(features.sources)]
    compute = halve(view_picture(features, *view), device)
    with remembered_windows(features.encoder):
        for finished in over_tiles(compute, slide.picture, plan, strides, device=device):
            for target, computed, stride in zip(maps, finished.maps, strides, strict=True):
                rows, columns = finished.core.coarsened(stride).slices
                target[:, rows, columns] = computed
            advance(1)
    return FeatureCache(tuple(maps), strides)


def halve(compute: Callable[[Tensor], list[Tensor]], device: torch.device | str) -> Callable[[Tensor], list[Tensor]]:
    """Compute in half precision on CUDA, as predictions do; what is kept is half precision anyway."""
    if torch.device(device).type != "cuda":
        return compute
    halved: Callable[[Tensor], list[Tensor]] = torch.autocast("cuda", torch.float16)(compute)
    return halved


def needed_tiles(network: PixNet, slide: Slide, crops: Sequence[Crop]) -> list[Tile]:
    """List the tiles of a slide whose cores intersect a crop."""
    height, width = slide.picture.grid.shape
    size = round_up(TILE_PX if network.encoder.window_px is None else WINDOWED_TILE_PX, network.alignment)
    plan = list(make_tiles(height, width, size=size, stride=network.alignment, margin=network.margin))
    cores = shapely.box(*np.array([(t.core.x0, t.core.y0, t.core.x1, t.core.y1) for t in plan]).T)
    windows = shapely.box(*np.array([(c.window.x0, c.window.y0, c.window.x1, c.window.y1) for c in crops]).T)
    return [plan[number] for number in np.unique(shapely.STRtree(cores).query(windows)[1])]


def create_map(path: Path, slide: Slide, source: FeatureSource) -> np.ndarray:
    """Create a file of zeros, which takes no space where nothing is written."""
    height, width = (-(-side // source.stride) for side in slide.picture.grid.shape)
    return np.lib.format.open_memmap(path, "w+", PRECISION, (source.channels, height, width))


def map_bytes(plan: Sequence[Tile], sources: Sequence[FeatureSource]) -> int:
    """Count bytes beforehand: when the disk runs full under a mapped file, a signal ends the process."""
    pixels = sum(tile.core.area for tile in plan)
    return sum(pixels // source.stride**2 * source.channels * np.dtype(PRECISION).itemsize for source in sources)


@dataclass(frozen=True)
class PixelSamples:
    """A few pixels of each shape with all their features, for decoders of single pixels.

    A spot has thousands of pixels that differ little. Sums over a sample, drawn by covered area, are the exact sums in
    expectation, and training is tens of times as fast.
    """

    features: np.ndarray
    """(shapes, D, M) at the output's stride, in a file."""
    weights: np.ndarray
    """(shapes, M) µm² that each pixel stands for; rows sum to the covered area of the shape."""

    def read(self, rows: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Read features as images of one column, (n, D, M, 1), and weights (n, M)."""
        features = torch.from_numpy(self.features[rows]).to(device).float()
        return features[..., None], torch.from_numpy(self.weights[rows]).to(device)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute (D,) mean and standard deviation over the pixels of all shapes; the latter is 1 for constants."""
        shares = self.weights / np.maximum(self.weights.sum(axis=1, keepdims=True), 1e-12)
        known = np.flatnonzero(self.weights.sum(axis=1) > 0)
        sums = np.zeros((2, self.features.shape[1]))
        for row in known:
            values = self.features[row].astype(np.float64)
            sums += values @ shares[row], values**2 @ shares[row]
        mean, square = sums / max(len(known), 1)
        return mean, feature_spread(mean, square)


def feature_spread(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Compute (D,) standard deviations from means of values and of squares, 1 where a feature is constant."""
    found = np.sqrt(np.maximum(square - mean**2, 0))
    return np.where(found > 1e-4 * (np.abs(mean) + 1), found, 1.0)
