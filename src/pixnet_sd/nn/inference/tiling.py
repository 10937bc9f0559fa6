"""Run a network over a picture of any size, tile by tile, with the result of one run over the whole. Torch and numpy.

The network is called once per batch. Threads read ahead, so the device does not wait for the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._raster.grid import Tile, Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._settings import logger

# Batches read in advance.
AHEAD = 2
READERS = 2


@dataclass(frozen=True)
class Finished:
    """The network's output for the core of one tile."""

    core: Window
    """In pixels of the picture; it begins at a multiple of the network's alignment."""
    maps: tuple[np.ndarray, ...]
    """One (c, y, x) for each output, at the output's stride; at the picture's far edges, rounded up."""


def over_tiles(
    compute: Callable[[Tensor], Tensor | Sequence[Tensor]],
    picture: Picture,
    plan: Iterable[Tile],
    strides: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 1,
) -> Iterator[Finished]:
    """Yield the cores of all tiles in the order of the plan.

    `compute` takes (B, 3, H, W) RGB in [0, 1] and returns one map for each of `strides`.
    """
    batches, within_memory = batch_tiles(plan, batch_size), WithinMemory(compute, device)
    with closing(read_ahead(picture, batches)) as ready:
        for tiles, pixels in ready:
            maps = within_memory(pixels)
            for row, tile in enumerate(tiles):
                cores = (crop_cores(m[row], tile, stride) for m, stride in zip(maps, strides, strict=True))
                yield Finished(tile.core, tuple(cores))


def batch_tiles(items: Iterable[Tile], size: int) -> Iterator[list[Tile]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def read_ahead(picture: Picture, batches: Iterator[list[Tile]]) -> Generator[tuple[list[Tile], np.ndarray], None, None]:
    """Yield batches with their pixels; threads read some batches ahead."""
    with ThreadPoolExecutor(READERS, "read-tiles") as reader:
        waiting: list[tuple[list[Tile], Future[np.ndarray]]] = []
        try:
            while True:
                needed = islice(batches, AHEAD + 1 - len(waiting))
                waiting.extend((tiles, reader.submit(read_batch, picture, tiles)) for tiles in needed)
                if not waiting:
                    return
                tiles, pixels = waiting.pop(0)
                yield tiles, pixels.result()
        finally:
            for _, pixels in waiting:
                pixels.cancel()


def read_batch(picture: Picture, tiles: list[Tile]) -> np.ndarray:
    return np.stack([picture.read(tile.read) for tile in tiles])


def to_unit(pixels: np.ndarray, device: torch.device | str) -> Tensor:
    """Convert uint8 to float in [0, 1] on the device: a quarter of the bytes to move, and no float64, which MPS lacks.

    Channels-last, as convolutions prefer, is set while they are bytes.
    """
    return torch.from_numpy(pixels).to(device).contiguous(memory_format=torch.channels_last).float().div_(255)


def crop_cores(tile_map: Tensor, tile: Tile, stride: int) -> np.ndarray:
    """Crop the core out of a map of the tile or of its middle."""
    rim = (tile.read.shape[0] - tile_map.shape[-2] * stride) // 2
    core = tile.core.relative_to(tile.read.grow(-rim)).coarsened(stride)
    rows, columns = core.slices
    # A copy: a view would keep the whole batch in memory.
    return np.ascontiguousarray(tile_map[:, rows, columns].numpy())


class WithinMemory:
    """Runs a network on as many tiles at once as fit into memory: the batch is halved whenever they do not fit.

    A tile's result does not depend on the others in its batch.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor | Sequence[Tensor]], device: torch.device | str) -> None:
        self.compute, self.device = compute, device
        self.most: int | None = None

    @torch.inference_mode()
    def __call__(self, tiles: np.ndarray) -> list[Tensor]:
        """Compute one float map for each output from (B, 3, H, W) uint8, on the CPU."""
        parts: list[list[Tensor]] = []
        remaining = tiles
        while len(remaining):
            some = remaining[: self.most]
            try:
                maps = self.compute(to_unit(some, self.device))
                parts.append([one.float().cpu() for one in ([maps] if isinstance(maps, Tensor) else maps)])
            except RuntimeError as error:
                self.check_divisible(error, some)
            else:
                remaining = remaining[len(some) :]
                continue
            self.shrink(len(some))  # only now: the error holds on to the memory that failed
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def check_divisible(self, error: RuntimeError, tiles: np.ndarray) -> None:
        """Raise again what is not a lack of memory, or what even one tile does not fit into."""
        if not is_out_of_memory(error):
            raise error
        if len(tiles) == 1:
            raise PixnetRuntimeError(
                f"One tile of {tiles.shape[-2]} x {tiles.shape[-1]} px does not fit into the memory of "
                f"{self.device}: {error}. Pass a smaller tile_size, or device='cpu'."
            ) from error

    def shrink(self, count: int) -> None:
        if self.most is None:
            logger.info("%d tiles at once are too many for the device's memory; halving until they fit", count)
        self.most = count // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Recognize an out-of-memory error; MPS has no class for it."""
    return isinstance(error, torch.OutOfMemoryError) or "backend out of memory" in str(error)
