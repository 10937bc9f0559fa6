"""Compute tiles in this process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

import numpy as np
from tqdm.auto import tqdm

from pixnet_sd._raster.grid import Tile, Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._sdata.storage.growing import Block, PartialRaster
from pixnet_sd._settings import settings
from pixnet_sd.tl._prediction.diagnostics import report_seam
from pixnet_sd.tl._prediction.output import MapOutput
from pixnet_sd.tl._prediction.plan import PredictionPlan
from pixnet_sd.tl._prediction.source import noted


def compute_locally(task: MapOutput, growing: PartialRaster, numbers: Sequence[int], *, progress: bool | None) -> None:
    """Fill the tiles with these numbers."""
    report_seam(task.job)
    with closing(iterate_tiles(task, numbers, progress)) as blocks:  # also after an error: tiles are no longer read
        growing.fill(blocks)


def iterate_tiles(task: MapOutput, numbers: Sequence[int], progress: bool | None) -> Generator[Block, None, None]:
    """These tiles, one after the other."""
    picture, plan = noted(task.job.picture), [task.job.plan[number] for number in numbers]
    blocks = show_progress(task.job, plan, progress, picture)
    for number, tile, (window, block) in zip(numbers, plan, blocks, strict=True):
        yield number, window, block, picture.digests.pop(tile.read)


def compute_raster(job: PredictionPlan, progress: bool | None) -> np.ndarray:
    """The raster of programs, in memory."""
    values = np.full(job.shape, np.nan, np.float32)
    with closing(show_progress(job, job.plan, progress)) as blocks:
        for window, block in blocks:
            values[:, *window.slices] = block
    return values


def show_progress(
    job: PredictionPlan, plan: Sequence[Tile], progress: bool | None, picture: Picture | None = None
) -> Generator[tuple[Window, np.ndarray], None, None]:
    """The blocks, with a progress bar."""
    hidden = not (settings.progress if progress is None else progress)
    with closing(job.blocks(plan, picture)) as blocks:
        yield from tqdm(blocks, "predict", total=len(plan), unit="tile", disable=hidden, leave=False)
