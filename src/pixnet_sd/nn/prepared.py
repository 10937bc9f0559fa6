"""Slides made ready for training: crops laid out, features of a frozen encoder computed once and kept. Torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import torch
from torch import Tensor

from pixnet_sd._writing import where_there_is_room
from pixnet_sd.nn.cache import cache_features, needed, tiles_of
from pixnet_sd.nn.draw import draw_samples, groups_of
from pixnet_sd.nn.margin import measure_margin
from pixnet_sd.nn.material import Material, materials
from pixnet_sd.nn.network import PixNet
from pixnet_sd.nn.pixel import PixelDecoder
from pixnet_sd.nn.pyramid import pool
from pixnet_sd.nn.slides import Slide
from pixnet_sd.nn.views import VIEWS

Bar = Callable[[int, str], Callable[..., object]]
"""Starts a progress bar of so many steps, with a text, and gives what moves it on by a number, and may tell a text."""
Prepared = tuple[Material, ...]
"""One slide: each of its sets of shapes with its crops, once for every view of the slide."""


@contextmanager
def prepared(
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
        where_there_is_room(Path(folder), after="Features are kept there while a network learns."),
    ):
        sets: list[Prepared] = []
        for slide in slides:
            own: list[Material] = []
            for view in VIEWS[:views]:
                place = Path(mkdtemp(dir=folder))
                seen = prepare(network, slide, view, reach, place, device, bar)
                own += seen if pixels is None else sampled(network, seen, pixels, place, device)
            sets.append(tuple(own))
        yield sets


def sampled(network: PixNet, sets: Prepared, pixels: int, folder: Path, device: torch.device | str) -> Prepared:
    """Sets with some pixels of each shape instead of maps, whose files go."""
    if not isinstance(network.decoder, PixelDecoder):
        return sets
    drawn = [
        draw_samples(network, network.decoder.readout, material, pixels, folder / f"samples_{n}.npy", device)
        for n, material in enumerate(sets)
    ]
    for path in folder.glob("[0-9]*.npy"):
        path.unlink()
    return tuple(
        replace(material, cache=None, samples=own, crops=groups_of(material, own, pixels))
        for material, own in zip(sets, drawn, strict=True)
    )


def prepare(
    network: PixNet,
    slide: Slide,
    view: tuple[int, bool],
    reach_px: int,
    folder: Path,
    device: torch.device | str,
    bar: Bar,
) -> Prepared:
    sets = materials(network, slide, reach_px)
    crops = [crop for material in sets for crop in material.crops]
    tick = bar(len(needed(tiles_of(network, slide), crops)), f"features of {slide.name}")
    cache = cache_features(network, slide, crops, folder, view=view, device=device, tick=tick)
    return tuple(replace(material, cache=cache) for material in sets)


def decoder_margin(network: PixNet) -> int:
    """Input pixels beyond which a pixel's features do not matter to the decoder."""

    def decode(image: Tensor) -> Tensor:
        grey = image.mean(dim=1, keepdim=True).to(next(network.parameters()).device)
        return network.decode([pool(grey, s.stride).expand(-1, s.channels, -1, -1) for s in network.features.sources])

    return measure_margin(network, decode, network.alignment, network.stride)
