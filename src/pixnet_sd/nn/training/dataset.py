"""What one slide gives to training: batches of crops with their features, weights and counts. Torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._raster.picture import Picture
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.nn.inference.tiling import to_unit
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.slides import MeasuredSet, Slide
from pixnet_sd.nn.training.augment import CropView
from pixnet_sd.nn.training.cache import FeatureCache
from pixnet_sd.nn.training.crops import Crop, crop_weights, crops_of, layout_for, to_torch
from pixnet_sd.nn.training.pixels import PixelSamples

DENSE_CROPS = 16
"""Crops of which all features are in memory at once, at the output's stride."""


@dataclass(frozen=True)
class Batch:
    """Crops of one set of shapes on one slide."""

    crops: list[Crop]
    rows: np.ndarray
    """Which shapes, in the order of the crops."""
    weights: Tensor
    """(shapes, pixels of all crops) covered area in µm²."""
    area_um2: Tensor
    """(shapes, 1) sums of the weights."""

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.crops, self.rows, self.weights.to(device), self.area_um2.to(device))


@dataclass(frozen=True)
class ShapeDataset:
    """One set of shapes, shared out over crops."""

    slide: Slide
    measured: MeasuredSet
    crops: list[Crop]
    scaled: Shapes
    """The shapes in pixels of the network's output."""
    stride: int
    cache: FeatureCache | None = None
    """Features of a frozen encoder; without it, the network reads the picture."""
    samples: PixelSamples | None = None
    """Some pixels of each shape, where the decoder looks at single pixels: then nothing else is read."""

    def batches(self, size: int) -> Iterator[Batch]:
        """All crops, `size` at a time."""
        for start in range(0, len(self.crops), size):
            yield self.batch(self.crops[start : start + size])

    def batch(self, crops: list[Crop]) -> Batch:
        weights = crop_weights(self.scaled, crops, self.stride) * (self.stride * self.slide.mpp) ** 2
        area_um2 = torch.from_numpy(weights.sum(axis=1).astype(np.float32))[:, None]
        return Batch(crops, np.concatenate([crop.rows for crop in crops]), to_torch(weights), area_um2)

    def maps(
        self, network: PixNet, crops: Sequence[Crop], device: torch.device | str, view: CropView | None = None
    ) -> list[Tensor]:
        """What the network's decoder is given; only pictures can be seen in another way."""
        if self.cache is not None:
            return self.cache.read(crops, device)
        image = read_tile(self.slide.picture, crops, network.rim, device)
        seen = image if view is None else view.of(image)
        with torch.autocast("cuda", torch.bfloat16, enabled=seen.is_cuda):
            maps = network.features(seen)
        return [one.float() for one in maps]


@dataclass
class TrainingSet:
    """What a network learns from, and what it is examined on."""

    training: Sequence[ShapeDataset]
    size_factors: Sequence[float]
    """One for each training material."""
    validation: Sequence[ShapeDataset] = ()
    device: torch.device | str = "cpu"


def read_tile(picture: Picture, crops: Sequence[Crop], rim: int, device: torch.device | str) -> Tensor:
    return to_unit(np.stack([picture.read(crop.window.grow(rim)) for crop in crops]), device)


def make_datasets(network: PixNet, slide: Slide, reach_px: int) -> list[ShapeDataset]:
    """Every set of a slide, each with crops that fit its shapes; `reach_px` is what must be seen around a shape."""
    made = []
    for measured in slide.measured:
        layout = layout_for(measured.shapes, network.alignment, reach_px)
        scaled = measured.shapes.scaled(1 / network.stride)
        made.append(ShapeDataset(slide, measured, crops_of(measured.shapes, layout), scaled, network.stride))
    return made
