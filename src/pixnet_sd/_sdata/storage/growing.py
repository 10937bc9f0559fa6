"""An image element that is written block by block, outlives the process that began it, and appears in the store whole.

It grows in a folder beside the store, on the same file system, so a store never holds half a raster. A process that is
killed leaves the folder; the same call takes it up again, and ends with the same bytes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetError, PixnetRuntimeError
from pixnet_sd._files import check_room, explain_full_disk
from pixnet_sd._raster.grid import Window
from pixnet_sd._sdata import levels
from pixnet_sd._sdata.levels import CHUNKS
from pixnet_sd._sdata.storage import locks, places
from pixnet_sd._sdata.storage.ledger import Ledger
from pixnet_sd._sdata.storage.origin import store_path
from pixnet_sd._settings import logger

STAGED = "staged.zarr"
"""Where the element grows."""
WAITING = 2
"""Blocks that wait for the disk; with more of them the work would run ahead of it, in memory."""
PYRAMID_SHARE = 4 / 3
"""Of a raster with all its coarser levels."""


class PartialRaster:
    """A raster element in a folder of its own, some of whose blocks are there."""

    def __init__(self, folder: Path, key: str, blank: Any, plan: Mapping[str, Any], part: str | None = None) -> None:
        self.folder, self.element = folder, folder / STAGED / "images" / key
        self.ledger = Ledger(folder / ("ledger.jsonl" if part is None else f"ledger-{part}.jsonl"), plan)
        make_once(folder / STAGED, partial(create_empty, key, blank))
        self.levels = open_levels(self.element) if self.element.exists() else []

    @property
    def file_px(self) -> tuple[int, int]:
        """Return (y, x) of what one file holds: two processes must not write into the same."""
        _, height, width = self.levels[0].shards or self.levels[0].chunks
        return height, width

    def present(self, windows: Mapping[int, Window]) -> dict[int, set[str]]:
        """Find which numbered windows hold the values that were noted, and digests of their sources."""
        found = {n: self.sources(n, windows[n]) for n in windows.keys() & self.ledger.done}
        return {n: sources for n, sources in found.items() if sources}

    def sources(self, number: int, window: Window) -> set[str]:
        try:
            values = np.asarray(self.levels[0][:, *window.slices])
        except Exception as error:
            raise PixnetRuntimeError(
                f"{self.folder} holds a file that cannot be read ({type(error).__name__}: {error}). Pass resume=False "
                "to begin anew."
            ) from error
        return self.ledger.sources(number, values)

    @contextmanager
    def open_writer(self) -> Iterator[Callable[[int, Window, np.ndarray, str], None]]:
        """Write numbered blocks, with the digest of what each was made from, in a thread while the next is computed."""
        waiting: deque[Future[None]] = deque()

        def put(number: int, window: Window, values: np.ndarray, source: str) -> None:
            waiting.append(writer.submit(self.write, number, window, values, source))
            if len(waiting) > WAITING:
                waiting.popleft().result()

        with ThreadPoolExecutor(1, "write-blocks") as writer:
            yield put
            for future in waiting:
                future.result()

    def write(self, number: int, window: Window, values: np.ndarray, source: str) -> None:
        self.levels[0][:, *window.slices] = values
        self.ledger.add(number, values, source)

    def close(self) -> None:
        self.ledger.close()

    def lazy_levels(self) -> list[da.Array]:
        return [da.from_zarr(level) for level in self.levels]

    def add_levels(self) -> None:
        """Compute the coarser levels from the finest, a few chunks at a time."""
        for fine, coarse in zip(self.levels, self.levels[1:], strict=False):
            trimmed = levels.count_trimmed(fine.shape, coarse.shape)
            for window in iterate_chunks(coarse):
                doubled = Window(*(2 * side for side in (window.y0, window.x0, window.y1, window.x1)))
                rows, columns = doubled.shift(*trimmed).slices
                coarse[:, *window.slices] = levels.block_means(np.asarray(fine[:, rows, columns]), 2)


@contextmanager
def open_partial(
    sdata: SpatialData, key: str, blank: Any, plan: Mapping[str, Any], *, resume: bool
) -> Iterator[PartialRaster]:
    """Open the raster where an interrupted call left it. Its folder stays, unless it is published."""
    folder = partial_folder(sdata, key)
    folder.mkdir(exist_ok=True)
    with locks.exclusive(folder), explain_interruption(folder):
        if not resume:
            empty_folder(folder)
        remove_temp(folder)
        with closing(PartialRaster(folder, key, blank, plan)) as raster:
            yield raster


@contextmanager
def open_partial_shard(
    folder: Path, key: str, blank: Any, plan: Mapping[str, Any], part: str, *, driven: bool
) -> Iterator[PartialRaster]:
    """Open the raster for one part, while other processes add theirs."""
    folder.mkdir(exist_ok=True)
    with (
        locks.part_lock(folder, part, driven=driven),
        explain_interruption(folder),
        closing(PartialRaster(folder, key, blank, plan, part)) as raster,
    ):
        yield raster


@contextmanager
def explain_interruption(folder: Path) -> Iterator[None]:
    """Say what an interruption left, and what to do."""
    try:
        with explain_full_disk(folder, after=f"{folder} keeps what is done."):
            yield
    except PixnetError:
        raise
    except BaseException:
        logger.warning("interrupted; %s keeps what is done, and the same call resumes it", folder)
        raise


def partial_folder(sdata: SpatialData, key: str) -> Path:
    return places.partial_path(store_path(sdata), key)


def key_of(folder: Path) -> str:
    """Find the name of the element that grows in a folder."""
    return folder.name.removesuffix(".partial").rpartition(places.SEPARATOR)[2]


def remove_temp(folder: Path) -> None:
    """Remove what zarr was writing when a process was killed."""
    for file in folder.rglob("*.partial"):
        file.unlink()


def list_partial_folders(sdata: SpatialData) -> list[Path]:
    """List all partial rasters beside a store."""
    beside = store_path(sdata).parent.glob(f".*{places.SEPARATOR}*.partial")
    return sorted(folder for folder in beside if folder == partial_folder(sdata, key_of(folder)))


def empty_folder(folder: Path) -> None:
    """Remove files first: they say what the folders hold, and must not outlive them."""
    for path in sorted(folder.iterdir(), key=Path.is_dir):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def make_once(path: Path, make: Callable[[Path], object]) -> None:
    """Make a folder that appears whole; of several processes, the first one's stays."""
    if path.exists():
        return
    with tempfile.TemporaryDirectory(prefix="making-", dir=path.parent, ignore_cleanup_errors=True) as making:
        made = Path(making) / path.name
        make(made)
        try:
            made.rename(path)
        except OSError:
            if not path.exists():
                raise


def create_empty(key: str, blank: Any, path: Path) -> None:
    """Write an element of zeros, which zarr does not store, and then say that what is not stored is NaN."""
    # At every level: the coarser ones are not to be computed from the finest.
    zeros = [da.zeros(level.shape, chunks=CHUNKS, dtype=np.float32) for level in levels.arrays_of(blank)]
    SpatialData.init_from_elements({key: levels.with_arrays(blank, zeros)}).write(path)
    for array in (path / "images" / key).glob("*/zarr.json"):
        metadata = json.loads(array.read_text())
        array.write_text(json.dumps({**metadata, "fill_value": "NaN"}, indent=2))


def open_levels(element: Path) -> list[zarr.Array]:
    """Open the levels of a raster on disk, finest first."""
    attributes: Any = zarr.open_group(element, mode="r", use_consolidated=False).attrs["ome"]
    paths = [element / one["path"] for one in attributes["multiscales"][0]["datasets"]]
    return [zarr.open_array(path, mode="r+") for path in paths]


def iterate_chunks(array: zarr.Array) -> Iterator[Window]:
    _, height, width = array.shape
    _, step_y, step_x = array.chunks
    for y in range(0, height, step_y):
        for x in range(0, width, step_x):
            yield Window(y, x, min(y + step_y, height), min(x + step_x, width))


def check_space(sdata: SpatialData, key: str, values: int) -> None:
    """Log how much room float32 values with their pyramid take at most, and refuse what the disk cannot hold."""
    needed = int(values * 4 * PYRAMID_SHARE)
    folder = store_path(sdata).parent
    logger.info("%r takes up to %.2f GB; %.1f GB are free", key, needed / 1e9, shutil.disk_usage(folder).free / 1e9)
    check_room(folder, needed, f"{key!r}", otherwise="use tl.predict_shapes, which stores no raster")
