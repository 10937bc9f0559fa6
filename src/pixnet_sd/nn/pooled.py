"""Features of a frozen encoder, exactly pooled over measured shapes: what a regression sees. Torch and numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._scores import log_profile
from pixnet_sd._shapes import Shapes
from pixnet_sd.nn.cache import Cache, cache_features, needed, tiles_of
from pixnet_sd.nn.crops import Crop, crop_weights, crops_of, layout_for, to_torch
from pixnet_sd.nn.loss import pool
from pixnet_sd.nn.margin import measure_margin
from pixnet_sd.nn.network import PixNet
from pixnet_sd.nn.pyramid import pool as coarsen
from pixnet_sd.nn.readout import Readout
from pixnet_sd.nn.slides import Slide

Bar = Callable[[int, str], Callable[[int], object]]
"""Starts a progress bar of so many steps, with a text, and gives what moves it on."""
BATCH = 16
"""Crops whose features are in memory at once."""
BLOCKS = 2
"""A slide on its own is cut into this many by this many blocks, which are left out in turn."""


@dataclass(frozen=True)
class Pooled:
    """All shapes that have counts."""

    features: np.ndarray
    """(S, D) means over each shape."""
    profiles: np.ndarray
    """(S, G) log expression."""
    groups: np.ndarray
    """(S,) which section, or which block of the only one."""


def pool_slides(network: PixNet, slides: Sequence[Slide], device: torch.device | str, bar: Bar) -> Pooled:
    """Every slide's features are computed tile by tile, each once, and kept on disk while they are pooled."""
    parts, reach = [], decoder_margin(network)
    for number, slide in enumerate(slides):
        group = number if len(slides) > 1 else None
        parts += pool_slide(network, slide, group, reach, device, bar)
    features, profiles, groups = (np.concatenate(part) for part in zip(*parts, strict=True))
    known = np.isfinite(features).all(axis=1) & np.isfinite(profiles).all(axis=1)
    return Pooled(features[known], profiles[known], groups[known])


def pool_slide(
    network: PixNet, slide: Slide, group: int | None, reach_px: int, device: torch.device | str, bar: Bar
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Features, profiles and groups of each set of shapes."""
    sets = [one.shapes for one in slide.measured]
    crops = [crops_of(shapes, layout_for(shapes, network.alignment, reach_px)) for shapes in sets]
    every = [crop for own in crops for crop in own]
    tick = bar(len(needed(tiles_of(network, slide), every)), f"features of {slide.name}")
    with TemporaryDirectory(prefix="pixnet_sd-") as folder:
        cache = cache_features(network, slide, every, Path(folder), device=device, tick=tick)
        features = [pooled_features(network, cache, *pair, device) for pair in zip(sets, crops, strict=True)]
    profiles = [log_profile(one.counts.toarray(), one.totals) for one in slide.measured]
    groups = [blocks_of(s.centroid) if group is None else np.full(len(s), group) for s in sets]
    return list(zip(features, profiles, groups, strict=True))


def decoder_margin(network: PixNet) -> int:
    """Input pixels beyond which a pixel's features do not matter to the decoder."""

    def decode(image: Tensor) -> Tensor:
        grey = image.mean(dim=1, keepdim=True)
        return network.decode(
            [coarsen(grey, s.stride).expand(-1, s.channels, -1, -1) for s in network.features.sources]
        )

    return measure_margin(network, decode, network.alignment, network.stride)


@torch.inference_mode()
def pooled_features(
    network: PixNet, cache: Cache, shapes: Shapes, crops: Sequence[Crop], device: torch.device | str
) -> np.ndarray:
    """(shapes, D): the exact mean of every feature over every shape; NaN where a shape has no area."""
    assert isinstance(network.decoder, Readout)
    pooled, scaled = np.full((len(shapes), network.decoder.dim), np.nan), shapes.scaled(1 / network.stride)
    for start in range(0, len(crops), BATCH):
        batch = crops[start : start + BATCH]
        weights = crop_weights(scaled, batch, network.stride)
        sums = pool(network.decoder.dense(cache.read(batch, device)), to_torch(weights).to(device))
        pooled[np.concatenate([crop.rows for crop in batch])] = sums.cpu().numpy() / weights.sum(axis=1)[:, None]
    return pooled


def blocks_of(places: np.ndarray) -> np.ndarray:
    """Blocks of about as many shapes each: columns at quantiles of x, then rows at quantiles of y."""
    column = quantile_bins(places[:, 0])
    blocks = np.zeros(len(places), int)
    for number in range(BLOCKS):
        inside = column == number
        blocks[inside] = number * BLOCKS + quantile_bins(places[inside, 1])
    return blocks


def quantile_bins(values: np.ndarray) -> np.ndarray:
    edges = np.nanquantile(values, np.arange(1, BLOCKS) / BLOCKS)
    return np.searchsorted(edges, values)
