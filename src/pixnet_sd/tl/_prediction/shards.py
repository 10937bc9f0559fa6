"""A prediction cut into parts by hand, for processes that know nothing of each other, on one machine or on many.

Each shard computes its own tiles; nothing appears in the store until `finish` has seen that all are there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._sdata.storage.attach import check_results
from pixnet_sd._sdata.storage.growing import list_partial_folders, open_partial_shard, partial_folder
from pixnet_sd._sdata.storage.paths import store_path
from pixnet_sd._sdata.storage.publish import is_publishing
from pixnet_sd.nn.device import check_device
from pixnet_sd.tl._prediction.local import compute_locally
from pixnet_sd.tl._prediction.options import PredictOptions, has_options, read_options, write_options
from pixnet_sd.tl._prediction.output import MapOutput
from pixnet_sd.tl._prediction.parts import split_parts
from pixnet_sd.tl._prediction.plan import load_model
from pixnet_sd.tl._prediction.store import check_room, predict_to_store, refuse_missing, tiles_to_compute


def predict_shard(
    sdata: SpatialData, request: PredictOptions, model: Any, *, number: int, count: int, progress: bool | None = None
) -> int:
    """Compute part `number` of 1 to `count` of a map; how many tiles it has."""
    if not 1 <= number <= count:
        raise PixnetValueError(f"There is no shard {number} of {count}; they are numbered from 1 to {count}.")
    asked = replace(request, shards=count)
    task = MapOutput(sdata, asked, asked.job(sdata, load_model(model)))
    check_shard(task)
    key, folder = task.names.programs, partial_folder(sdata, task.names.programs)
    name = f"{number}-of-{count}"
    with open_partial_shard(folder, key, task.blank, task.plan, name, driven=False) as growing:
        write_options(folder, asked.settled(task.job), task.job.model)
        own = split_parts(task.windows, growing.file_px, task.job.how.batch_size, count)[number - 1]
        numbers = tiles_to_compute(task, growing, own)
        check_room(task, numbers)
        compute_locally(task, growing, numbers, progress=progress)
    return len(own)


def check_shard(task: MapOutput) -> None:
    check_device(task.job.how.device)
    if is_publishing(task.sdata, task.names.programs):
        raise PixnetRuntimeError(f"{task.names.programs!r} is complete and on its way into the store: finish it.")
    check_results(task.sdata, task.names.kinds, overwrite=task.request.overwrite)


def list_waiting(sdata: SpatialData) -> list[Path]:
    """Folders beside the store that shards, or an interrupted cluster, left there."""
    return [folder for folder in list_partial_folders(sdata) if has_options(folder)]


def finish_shards(sdata: SpatialData) -> list[str]:
    """Verify and publish what waits; the names of the maps."""
    found = list_waiting(sdata)
    if not found:
        raise PixnetValueError(
            f"There is nothing to finish beside {store_path(sdata)}: run its shards first, each once."
        )
    return [finish_map(sdata, folder) for folder in found]


def finish_map(sdata: SpatialData, folder: Path) -> str:
    request, model = read_options(folder)
    task = MapOutput(sdata, request, request.job(sdata, model))
    predict_to_store(task, refuse_missing, resume=True)
    return task.names.programs
