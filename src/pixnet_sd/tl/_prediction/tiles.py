"""Tiles of a plan: which of them are missing, and computing them in this process.

A tile that is done counts while the pixels that it was made from are the same, which their digest tells.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError, warn
from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._sdata.storage.growing import PartialRaster, check_space
from pixnet_sd._settings import logger
from pixnet_sd.tl._prediction.parts import split_parts
from pixnet_sd.tl._prediction.plan import PredictionPlan

READERS = 4
"""Windows that are read at once to be compared."""


@dataclass(frozen=True)
class NotedPicture(Picture):
    """A picture that keeps a digest of each window that is read, which saves a second reading."""

    digests: dict[Window, str] = field(default_factory=dict)

    def read(self, window: Window) -> np.ndarray:
        pixels = super().read(window)
        self.digests[window] = checksum(pixels)
        return pixels


def checksum(pixels: np.ndarray) -> str:
    """Compute a CRC: it takes a quarter of the time of blake2b, which would be half of that of reading the pixels."""
    return f"{zlib.crc32(np.ascontiguousarray(pixels).tobytes()):08x}"


def compute_here(
    plan: PredictionPlan,
    growing: PartialRaster,
    numbers: Sequence[int],
    *,
    progress: bool | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Compute these tiles in this process, and write each when it is done."""
    picture = NotedPicture(plan.picture.data, plan.picture.step)
    with growing.open_writer() as write:
        blocks = plan.blocks(numbers, progress=progress, picture=picture)
        for number, (window, block) in zip(numbers, blocks, strict=True):
            if is_stopped():
                break
            write(number, window, block, picture.digests.pop(plan.tiles[number].read))


def read_digests(plan: PredictionPlan, numbers: Iterable[int]) -> dict[int, str]:
    """Read the digests of the pixels that these tiles are made from now."""
    windows = {number: plan.tiles[number].read for number in numbers}
    with ThreadPoolExecutor(READERS, "compare-pixels") as readers:
        found = readers.map(lambda window: checksum(plan.picture.read(window)), windows.values())
        return dict(zip(windows, found, strict=True))


def changed_tiles(plan: PredictionPlan, known: Mapping[int, set[str]]) -> set[int]:
    """Find the tiles under which the image has other pixels than those with the known digests."""
    now = read_digests(plan, known)
    return {number for number, digests in known.items() if now[number] not in digests}


def missing_tiles(plan: PredictionPlan, growing: PartialRaster, of: Sequence[int] | None = None) -> list[int]:
    """Find the tiles that are not there, or from other pixels, and those that share a batch with one."""
    windows = plan.windows if of is None else {number: plan.windows[number] for number in of}
    present = growing.present(windows)
    changed = changed_tiles(plan, present)
    if changed:
        warn(
            f"Image {plan.image_key!r} has changed under {len(changed)} of the {len(present)} tiles that were "
            "done, so these do not count any more."
        )
    missing = windows.keys() - (present.keys() - changed)
    numbers = whole_batches(missing, len(plan.tiles), plan.how.batch_size)
    if len(numbers) < len(windows):
        logger.info("resuming: %d of %d tiles are done", len(windows) - len(numbers), len(windows))
    return numbers


def whole_batches(missing: set[int], count: int, size: int) -> list[int]:
    """Add the tiles that share a batch with a missing one: a tile's last bits may depend on its batch."""
    batches = {number // size for number in missing}
    return [number for number in range(count) if number // size in batches]


def check_space_for(sdata: SpatialData, key: str, plan: PredictionPlan, numbers: Sequence[int]) -> None:
    check_space(sdata, key, plan.shape[0] * sum(plan.windows[number].area for number in numbers))


def check_complete(
    plan: PredictionPlan, growing: PartialRaster, key: str, missing: Collection[int] | None = None
) -> None:
    """Check that no tile is missing, read anew from the ledgers unless given."""
    if missing is None:
        growing.ledger.refresh()
        missing = plan.windows.keys() - growing.present(plan.windows).keys()
    if missing:
        raise PixnetRuntimeError(
            f"{len(missing)} of {len(plan.tiles)} tiles of {key!r} are missing"
            f"{describe_shards(plan, growing, missing)}. What is done is kept; run what is missing again."
        )


def describe_shards(plan: PredictionPlan, growing: PartialRaster, missing: Collection[int]) -> str:
    """Name the shards that the missing tiles belong to, if there are any."""
    if plan.options.shards is None:
        return ""
    cut = split_parts(plan.windows, growing.file_px, plan.how.batch_size, plan.options.shards)
    lacking = [f"{number}/{len(cut)}" for number, part in enumerate(cut, 1) if set(missing) & set(part)]
    return f", of shards {', '.join(lacking)}"
