"""Prepare slides for training: features on disk, and pixels sampled from each shape. Torch and numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._files import check_room, explain_full_disk
from pixnet_sd._raster.grid import Window
from pixnet_sd.nn.network.margin import measure_margin
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.views import VIEWS
from pixnet_sd.nn.ops import pool_maps
from pixnet_sd.nn.slides import Slide, size_factors
from pixnet_sd.nn.training.cache import PRECISION, PixelSamples, cache_features, needed_tiles
from pixnet_sd.nn.training.crops import Crop, crop_rows
from pixnet_sd.nn.training.dataset import DENSE_CROPS, ShapeDataset, make_datasets

# Starts a progress bar of so many steps, with a text; returns what advances it by a number, and may set a postfix.
Progress = Callable[[int, str], Callable[..., object]]
# The sets of shapes of one slide, once for every view of it.
SlideSets = tuple[ShapeDataset, ...]


@contextmanager
def cached_datasets(
    network: PixNet,
    slides: Sequence[Slide],
    device: torch.device | str,
    progress: Progress,
    pixels: int | None = None,
    views: int = 1,
) -> Iterator[list[SlideSets]]:
    """Keep features of the slides on disk while the block runs.

    With a number of `pixels`, only a sample of each shape is kept, for decoders of single pixels.
    """
    margin_px = decoder_margin(network)
    with (
        # Windows cannot delete files that are still mapped.
        TemporaryDirectory(prefix="pixnet_sd-", ignore_cleanup_errors=True) as folder,
        explain_full_disk(Path(folder), after="Features are kept there during the training."),
    ):
        sets: list[SlideSets] = []
        for slide in slides:
            own: list[ShapeDataset] = []
            for view in VIEWS[:views]:
                place = Path(mkdtemp(dir=folder))
                cached = cache_slide(network, slide, view, margin_px, place, device, progress)
                own += cached if pixels is None else sample_datasets(network, cached, pixels, place, device)
            sets.append(tuple(own))
        yield sets


def uncached_datasets(network: PixNet, slides: Sequence[Slide]) -> list[SlideSets]:
    """Divide slides into crops that are read and encoded at every step."""
    return [tuple(make_datasets(network, slide, network.margin - network.rim)) for slide in slides]


def training_datasets(slides: Sequence[SlideSets]) -> list[ShapeDataset]:
    """List all sets with their size factors among those given."""
    factors, made = size_factors([sets[0].slide for sets in slides]), []
    for sets, own in zip(slides, factors, strict=True):
        depths = cycle(own)
        made += [dataset if dataset.glass else replace(dataset, size_factor=next(depths)) for dataset in sets]
    return made


def cache_slide(
    network: PixNet,
    slide: Slide,
    view: tuple[int, bool],
    margin_px: int,
    folder: Path,
    device: torch.device | str,
    progress: Progress,
) -> SlideSets:
    sets = make_datasets(network, slide, margin_px)
    crops = [crop for dataset in sets for crop in dataset.crops]
    advance = progress(len(needed_tiles(network, slide, crops)), f"features of {slide.name}")
    cache = cache_features(network, slide, crops, folder, view=view, device=device, advance=advance)
    return tuple(replace(dataset, cache=cache) for dataset in sets)


def sample_datasets(
    network: PixNet, sets: SlideSets, pixels: int, folder: Path, device: torch.device | str
) -> SlideSets:
    """Replace maps, whose files are deleted, by some pixels of each shape."""
    if not network.decoder.samples_pixels:
        return sets
    samples = [
        sample_pixels(network, dataset, pixels, folder / f"samples_{n}.npy", device) for n, dataset in enumerate(sets)
    ]
    for path in folder.glob("[0-9]*.npy"):
        path.unlink()
    return tuple(
        replace(dataset, cache=None, samples=own, crops=regroup_crops(dataset, own, pixels))
        for dataset, own in zip(sets, samples, strict=True)
    )


@torch.inference_mode()
def sample_pixels(
    network: PixNet, dataset: ShapeDataset, most: int, path: Path, device: torch.device | str
) -> PixelSamples:
    """Take all pixels of small shapes, with their exact weights, and `most` of the others."""
    batches = [(crops, dataset.area_weights(crops).astype(np.float32)) for crops in dataset.split(DENSE_CROPS)]
    count = min(most, max(int(np.diff(csr.indptr).max()) for _, csr in batches))
    shapes, dim = len(dataset.measured.shapes), network.decoder.dim
    needed = shapes * dim * count * np.dtype(PRECISION).itemsize
    check_room(path.parent, needed, f"Pixels of {shapes:,} shapes", otherwise="let TMPDIR name a larger disk")
    features = np.lib.format.open_memmap(path, "w+", PRECISION, (shapes, dim, count))
    weights = np.zeros((shapes, count), np.float32)
    for crops, csr in batches:
        dense = network.decoder.dense(dataset.maps(network, crops, device)).movedim(1, 0).flatten(1)
        for row, start, end in zip(crop_rows(crops), csr.indptr, csr.indptr[1:], strict=False):
            pixels, weights[row] = choose_pixels(csr.indices[start:end], csr.data[start:end], count)
            features[row] = dense[:, torch.from_numpy(pixels).to(dense.device)].cpu().numpy()
    return PixelSamples(features, weights)


def choose_pixels(pixels: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose `count` pixels and their weights: all if there are no more, else evenly along the covered area."""
    if len(pixels) <= count:
        unused = (0, count - len(pixels))
        return np.pad(pixels, unused), np.pad(weights, unused)
    area = np.cumsum(weights, dtype=np.float64)
    places = np.searchsorted(area, (np.arange(count) + 0.5) / count * area[-1])
    return pixels[places.clip(max=len(pixels) - 1)], np.full(count, area[-1] / count, np.float32)


def regroup_crops(dataset: ShapeDataset, samples: PixelSamples, most: int) -> list[Crop]:
    """Shuffle the shapes into groups of about `most` pixels, so that batches cost the same for shapes of any size.

    Groups have no window, since nothing is read around sampled pixels.
    """
    rows = np.random.default_rng(0).permutation(crop_rows(dataset.crops))
    size = max(1, most // samples.weights.shape[1])
    return [Crop(Window(0, 0, 0, 0), own) for own in np.array_split(rows, -(-len(rows) // size))]


def decoder_margin(network: PixNet) -> int:
    """Measure the input pixels beyond which a pixel's features do not matter to the decoder."""

    def decode(image: Tensor) -> Tensor:
        gray = image.mean(dim=1, keepdim=True).to(next(network.parameters()).device)
        return network.decode(
            [pool_maps(gray, s.stride).expand(-1, s.channels, -1, -1) for s in network.features.sources]
        )

    return measure_margin(network, decode, network.alignment, network.stride)
