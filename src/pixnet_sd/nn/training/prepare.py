"""Prepare slides for training: features on disk, and pixels drawn from each shape. Torch and numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pixnet_sd._files import check_room, explain_full_disk
from pixnet_sd._raster.grid import Window
from pixnet_sd.nn.network.margin import measure_margin
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.pixelwise import PixelDecoder, Readout
from pixnet_sd.nn.network.views import VIEWS
from pixnet_sd.nn.ops import pool_maps
from pixnet_sd.nn.slides import Slide
from pixnet_sd.nn.training.cache import PRECISION, cache_features, needed_bytes, tiles_of
from pixnet_sd.nn.training.crops import Crop
from pixnet_sd.nn.training.dataset import DENSE_CROPS, ShapeDataset, make_datasets
from pixnet_sd.nn.training.pixels import PixelSamples


@torch.inference_mode()
def sample_pixels(
    network: PixNet, readout: Readout, material: ShapeDataset, most: int, path: Path, device: torch.device | str
) -> PixelSamples:
    """All pixels of shapes that have few, with their exact weights, and `most` of the others."""
    batches = list(material.batches(DENSE_CROPS))
    count = min(most, max(int(batch.weights.crow_indices().diff().max()) for batch in batches))
    shapes = len(material.measured.shapes)
    needed = shapes * readout.dim * count * np.dtype(PRECISION).itemsize
    check_room(path.parent, needed, f"Pixels of {shapes:,} shapes", otherwise="let TMPDIR name a larger disk")
    features = np.lib.format.open_memmap(path, "w+", PRECISION, (shapes, readout.dim, count))
    weights = np.zeros((shapes, count), np.float32)
    for batch in batches:
        dense = readout.dense(material.maps(network, batch.crops, device)).movedim(1, 0).flatten(1)
        for row, own in zip(batch.rows, iterate_rows(batch.weights), strict=True):
            pixels, weights[row] = choose_pixels(*own, count)
            features[row] = dense[:, torch.from_numpy(pixels).to(dense.device)].cpu().numpy()
    return PixelSamples(features, weights)


def regroup_batches(material: ShapeDataset, samples: PixelSamples, most: int) -> list[Crop]:
    """The shapes anew, mixed, so that each group has about `most` pixels: a batch costs the same for any size.

    Nothing is read around shapes whose pixels are drawn, so a group has no window.
    """
    rows = np.random.default_rng(0).permutation(np.concatenate([crop.rows for crop in material.crops]))
    size = max(1, most // samples.weights.shape[1])
    return [Crop(Window(0, 0, 0, 0), own) for own in np.array_split(rows, -(-len(rows) // size))]


def iterate_rows(weights: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and weights of each row of a sparse matrix."""
    csr = sp.csr_array((weights.values().numpy(), weights.col_indices().numpy(), weights.crow_indices().numpy()))
    return [(csr.indices[a:b], csr.data[a:b]) for a, b in zip(csr.indptr, csr.indptr[1:], strict=False)]


def choose_pixels(pixels: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pixels and what each stands for: all of them where they are no more, else evenly along their area."""
    if len(pixels) <= count:
        unused = (0, count - len(pixels))
        return np.pad(pixels, unused), np.pad(weights, unused)
    area = np.cumsum(weights, dtype=np.float64)
    places = np.searchsorted(area, (np.arange(count) + 0.5) / count * area[-1])
    return pixels[places.clip(max=len(pixels) - 1)], np.full(count, area[-1] / count, np.float32)


Bar = Callable[[int, str], Callable[..., object]]
"""Starts a progress bar of so many steps, with a text, and gives what moves it on by a number, and may tell a text."""
Prepared = tuple[ShapeDataset, ...]
"""One slide: each of its sets of shapes with its crops, once for every view of the slide."""


@contextmanager
def cached_datasets(
    network: PixNet,
    slides: Sequence[Slide],
    device: torch.device | str,
    bar: Bar,
    pixels: int | None = None,
    views: int = 1,
) -> Iterator[list[Prepared]]:
    """The slides, with features on disk for as long as the block runs.

    With a number of `pixels`, only so many of each shape are kept, where the decoder looks at single pixels.
    """
    reach = decoder_margin(network)
    with (
        TemporaryDirectory(prefix="pixnet_sd-", ignore_cleanup_errors=True) as folder,
        explain_full_disk(Path(folder), after="Features are kept there while a network learns."),
    ):
        sets: list[Prepared] = []
        for slide in slides:
            own: list[ShapeDataset] = []
            for view in VIEWS[:views]:
                place = Path(mkdtemp(dir=folder))
                seen = prepare_slide(network, slide, view, reach, place, device, bar)
                own += seen if pixels is None else sample_datasets(network, seen, pixels, place, device)
            sets.append(tuple(own))
        yield sets


def sample_datasets(network: PixNet, sets: Prepared, pixels: int, folder: Path, device: torch.device | str) -> Prepared:
    """Sets with some pixels of each shape instead of maps, whose files go."""
    if not isinstance(network.decoder, PixelDecoder):
        return sets
    drawn = [
        sample_pixels(network, network.decoder.readout, material, pixels, folder / f"samples_{n}.npy", device)
        for n, material in enumerate(sets)
    ]
    for path in folder.glob("[0-9]*.npy"):
        path.unlink()
    return tuple(
        replace(material, cache=None, samples=own, crops=regroup_batches(material, own, pixels))
        for material, own in zip(sets, drawn, strict=True)
    )


def prepare_slide(
    network: PixNet,
    slide: Slide,
    view: tuple[int, bool],
    reach_px: int,
    folder: Path,
    device: torch.device | str,
    bar: Bar,
) -> Prepared:
    sets = make_datasets(network, slide, reach_px)
    crops = [crop for material in sets for crop in material.crops]
    tick = bar(len(needed_bytes(tiles_of(network, slide), crops)), f"features of {slide.name}")
    cache = cache_features(network, slide, crops, folder, view=view, device=device, tick=tick)
    return tuple(replace(material, cache=cache) for material in sets)


def decoder_margin(network: PixNet) -> int:
    """Input pixels beyond which a pixel's features do not matter to the decoder."""

    def decode(image: Tensor) -> Tensor:
        grey = image.mean(dim=1, keepdim=True).to(next(network.parameters()).device)
        return network.decode(
            [pool_maps(grey, s.stride).expand(-1, s.channels, -1, -1) for s in network.features.sources]
        )

    return measure_margin(network, decode, network.alignment, network.stride)
