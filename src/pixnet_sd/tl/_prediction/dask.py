"""Spread a prediction over the workers of a `dask.distributed` client.

The driver cuts the work into one part for each worker. A worker reads model, image and request from disk and writes its
part to disk; between the processes travel only paths and numbers. The driver then verifies and publishes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spatialdata import SpatialData
from tqdm.auto import tqdm

from pixnet_sd._dask import active_client
from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._sdata.storage import places
from pixnet_sd._sdata.storage.growing import PartialRaster, open_partial_shard, remove_temp
from pixnet_sd._sdata.storage.origin import store_path
from pixnet_sd._settings import logger, settings
from pixnet_sd.nn.inference.predict import check_machine
from pixnet_sd.tl._prediction.diagnostics import report_seam
from pixnet_sd.tl._prediction.options import read_options, write_options
from pixnet_sd.tl._prediction.parts import split_parts
from pixnet_sd.tl._prediction.plan import PredictionPlan, make_plan
from pixnet_sd.tl._prediction.tiles import changed_tiles, check_complete, compute_here, missing_tiles, read_digests
from pixnet_sd.tl._prediction.writer import MapWriter

POLL_S = 1.0
"""Between two looks at how far the workers are."""
PATIENCE_S = 60
"""For a worker to finish the tile in its hands."""
SAMPLED_TILES = 3
"""Of each worker's part, which must be the same for worker and driver."""
STOP = "stop"
"""A file that tells workers to stop."""


def has_workers(plan: PredictionPlan, sdata: SpatialData) -> bool:
    """Return whether there are workers, and what they need is on disk."""
    client = active_client()
    if client is None:
        return False
    if not client.ncores():
        raise PixnetRuntimeError(
            "The active dask client has no workers yet. Call client.wait_for_workers(1), or close the client."
        )
    missing = needed_elements(plan) - {name for _, name in places.list_stored(store_path(sdata))}
    if missing:
        logger.warning("%s is not in the store, so workers cannot read it: computing in this process", sorted(missing))
    return not missing


def needed_elements(plan: PredictionPlan) -> set[str]:
    """Return the names of the elements that a worker reads."""
    labels = None if plan.tissue is None else plan.tissue.key
    return {plan.image_key} | ({labels} if labels else set())


def compute_on_workers(
    writer: MapWriter, growing: PartialRaster, numbers: Sequence[int], *, progress: bool | None
) -> None:
    """Compute these tiles on the workers, a part of them on each."""
    client, folder, plan = active_client(), growing.folder, writer.plan
    (folder / STOP).unlink(missing_ok=True)
    write_options(folder, plan.options, plan.model, plan.tissue)
    addresses = sorted(client.ncores())
    windows = {number: plan.windows[number] for number in numbers}
    cut = split_parts(windows, growing.file_px, plan.how.batch_size, len(addresses))
    log_parts(cut, plan)
    report_seam(plan, device="cpu")
    futures = [
        submit_part(client, address, writer, folder, f"worker-{number}", part)
        for number, (address, part) in enumerate(zip(addresses, cut, strict=True))
        if part
    ]
    with stop_on_error(folder, futures):
        wait_for_workers(futures, growing, len(numbers), progress)
    remove_temp(folder)  # a worker may have been killed, and its part done by another
    check_complete(plan, growing, writer.names.programs)


def submit_part(client: Any, address: str, writer: MapWriter, folder: Path, name: str, part: list[int]) -> Any:
    """Submit a part to a worker; should that die, another one does what is left of it."""
    where = str(store_path(writer.sdata)), str(folder.absolute())
    seen = read_digests(writer.plan, part[:: max(1, len(part) // SAMPLED_TILES)])
    return client.submit(
        compute_part, *where, name, part, seen, workers=[address], allow_other_workers=True, pure=False
    )


def compute_part(store_path: str, folder: str, name: str, numbers: list[int], seen: Mapping[int, str]) -> None:
    """Compute a part on a worker."""
    sdata, here = SpatialData.read(store_path), Path(folder)
    options, model, tissue = read_options(here)
    writer = MapWriter(sdata, make_plan(sdata, model, options, tissue))
    plan, key = writer.plan, writer.names.programs
    check_machine(plan.how)
    check_seen(plan, seen)
    with open_partial_shard(here, key, writer.blank, plan.identity, name, driven=True) as growing:
        missing = missing_tiles(plan, growing, numbers)
        compute_here(plan, growing, missing, progress=False, is_stopped=(here / STOP).exists)


def check_seen(plan: PredictionPlan, seen: Mapping[int, str]) -> None:
    """Check that the worker reads what the driver reads, in some tiles."""
    differing = changed_tiles(plan, {number: {source} for number, source in seen.items()})
    if differing:
        raise PixnetRuntimeError(
            f"Image {plan.image_key!r} of this object is not the one in its store, which workers read: "
            f"{len(differing)} of {len(seen)} tiles that were compared differ. Write the image to the store, or close "
            "the dask client."
        )


@contextmanager
def stop_on_error(folder: Path, futures: Sequence[Any]) -> Iterator[None]:
    """Workers end with their driver, each after the tile in its hands: a repeated call finds the folder free."""
    try:
        yield
    except BaseException:
        (folder / STOP).touch()
        with suppress(Exception):  # the error that stops them is the one to tell
            sys.modules["distributed"].wait(futures, timeout=PATIENCE_S)
        raise


def wait_for_workers(futures: Sequence[Any], growing: PartialRaster, total: int, progress: bool | None) -> None:
    """Until all are done, or one has failed."""
    hidden = not (settings.progress if progress is None else progress)
    known, pending = growing.ledger.done, list(futures)
    with tqdm(desc="predict", total=total, unit="tile", disable=hidden, leave=False) as bar:
        while pending:
            for future in finished_futures(pending):
                future.result()
                pending.remove(future)
            growing.ledger.refresh()
            bar.update(len(growing.ledger.done - known) - bar.n)


def finished_futures(futures: Sequence[Any]) -> list[Any]:
    """Those that are done soon."""
    distributed = sys.modules["distributed"]
    try:
        return list(distributed.wait(futures, timeout=POLL_S, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []


def log_parts(cut: Sequence[Sequence[int]], plan: PredictionPlan) -> None:
    busy = sum(map(bool, cut))
    logger.info("%d tiles on %d of %d workers", sum(map(len, cut)), busy, len(cut))
    if busy < min(len(cut), sum(map(len, cut))):
        logger.info(
            "tiles of one batch, and those that share a file, stay on one worker; tile_size=%d, batch_size=%d now",
            plan.how.tile_px,
            plan.how.batch_size,
        )
