"""The shapes of one slide as training data: crops with features, weights and counts. Torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.nn.inference.tiling import to_unit
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.slides import MeasuredSet, Slide
from pixnet_sd.nn.training.augment import CropView
from pixnet_sd.nn.training.cache import FeatureCache, PixelSamples
from pixnet_sd.nn.training.crops import Crop, choose_layout, crop_rows, crop_weights, make_crops, sparse_tensor
from pixnet_sd.nn.training.loss import BatchCounts

# Crops of which all features are in memory at once, at the output's stride.
DENSE_CROPS = 16


@dataclass(frozen=True)
class ShapeDataset:
    """One set of shapes, divided into crops."""

    slide: Slide
    measured: MeasuredSet
    crops: list[Crop]
    scaled: Shapes
    """The shapes in pixels of the network's output."""
    stride: int
    size_factor: float = 1.0
    """Sequencing depth, relative to the other training sets."""
    cache: FeatureCache | None = None
    """Features of a frozen encoder; without it, the network reads the picture."""
    samples: PixelSamples | None = None
    """Some pixels of each shape, for a decoder of single pixels: then nothing else is read."""
    at_once: int | None = None
    """Crops in memory at once in a step, with all that their gradient needs; None for all of a batch."""
    glass: bool = False
    """Whether the shapes are on bare glass."""

    def split(self, size: int) -> Iterator[list[Crop]]:
        """Yield all crops, `size` at a time."""
        yield from (self.crops[start : start + size] for start in range(0, len(self.crops), size))

    def maps(
        self, network: PixNet, crops: Sequence[Crop], device: torch.device | str, view: CropView | None = None
    ) -> list[Tensor]:
        """Return the inputs of the network's decoder; only pictures can be augmented with a view."""
        if self.cache is not None:
            return self.cache.read(crops, device)
        pixels = np.stack([self.slide.picture.read(crop.window.grow(network.rim)) for crop in crops])
        image = to_unit(pixels, device)
        # bfloat16 has the range of float32, so gradients need no scaling.
        with torch.autocast("cuda", torch.bfloat16, enabled=image.is_cuda):
            maps = network.features(image if view is None else view.apply(image))
        return [one.float() for one in maps]

    def area_weights(self, crops: Sequence[Crop]) -> sp.csr_array:
        """Compute (shapes, pixels of all crops) covered area in µm²."""
        return crop_weights(self.scaled, crops, self.stride) * (self.stride * self.slide.mpp) ** 2

    def weights(self, crops: Sequence[Crop], device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Return the weights that pool a map over shapes, sparse, and their sums (shapes, 1)."""
        weights = self.area_weights(crops)
        area_um2 = torch.from_numpy(weights.sum(axis=1).astype(np.float32))[:, None]
        return sparse_tensor(weights).to(device), area_um2.to(device)

    def counts(self, crops: Sequence[Crop], device: torch.device | str) -> BatchCounts:
        """Return the measured counts of some crops, in their order."""
        batch = self.measured.counts[rows := crop_rows(crops)].toarray(), self.measured.totals[rows]
        counts, totals = (torch.from_numpy(values.astype(np.float32)).to(device) for values in batch)
        return BatchCounts(counts, totals, self.size_factor)


def make_datasets(network: PixNet, slide: Slide, margin_px: int) -> list[ShapeDataset]:
    """Divide every set of a slide into crops that fit its shapes, with a margin around each shape; glass comes last."""
    made = []
    for measured in [*slide.measured, *glass_sets(slide)]:
        layout = choose_layout(measured.shapes, network.alignment, margin_px)
        scaled = measured.shapes.scaled(1 / network.stride)
        made.append(ShapeDataset(slide, measured, make_crops(measured.shapes, layout), scaled, network.stride))
    return [replace(one, glass=number >= len(slide.measured)) for number, one in enumerate(made)]


def glass_sets(slide: Slide) -> list[MeasuredSet]:
    """Return the shapes on glass as a set without counts; none where there are no such shapes."""
    if slide.glass is None:
        return []
    shape = len(slide.glass), slide.measured[0].counts.shape[1]
    return [MeasuredSet(slide.glass, sp.csr_array(shape, dtype=np.float32), np.zeros(shape[0]))]
