"""A prediction split into shards, for processes that share nothing but the store, on one machine or on many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._sdata.masks import AUTO
from pixnet_sd._sdata.storage.growing import list_partial_folders, open_partial_shard, partial_folder
from pixnet_sd._sdata.storage.origin import store_path
from pixnet_sd._sdata.storage.publish import is_publishing
from pixnet_sd.nn.inference.predict import check_machine
from pixnet_sd.nn.model.model import Model
from pixnet_sd.tl._prediction.diagnostics import report_seam, report_tiles
from pixnet_sd.tl._prediction.existing import is_there
from pixnet_sd.tl._prediction.options import PredictOptions, has_options, read_found_tissue, read_options, write_options
from pixnet_sd.tl._prediction.parts import split_parts
from pixnet_sd.tl._prediction.plan import PredictionPlan, make_plan
from pixnet_sd.tl._prediction.tiles import check_complete, check_space_for, compute_here, missing_tiles
from pixnet_sd.tl._prediction.writer import MapWriter


def predict_shard(
    sdata: SpatialData,
    image_key: str | None = None,
    *,
    number: int,
    shards: int,
    model: Model | str | Path | None = None,
    genes: Sequence[str] | None = None,
    mpp: float | None = None,
    tissue_key: str | None = "auto",
    image_key_added: str | None = None,
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    exist_ok: bool = False,
    overwrite: bool = False,
    device: str | None = None,
    batch_size: int | None = None,
    tile_size: int | None = None,
    augment: bool = False,
    compile: bool = False,
    backend: str | None = None,
    progress: bool | None = None,
) -> int:
    """Compute one shard of a map, beside the store that backs the object.

    Run every shard once, in processes of any number of machines that reach the store; then call :func:`finish` once.
    A shard that was interrupted resumes with the same call. Nothing appears in the store before `finish`.

    Parameters
    ----------
    sdata
        SpatialData object, backed by a store.
    image_key
        H&E image; optional if the object has exactly one.
    number
        Number of this shard, from 1 to `shards`.
    shards
        Number of shards, the same in every call.
    model, genes, mpp, tissue_key, image_key_added, value_range, allow_upsample, exist_ok, overwrite, \
device, batch_size, tile_size, augment, compile, backend, progress
        See :func:`predict`; the same in every call, but for `progress`.

    Returns
    -------
    Number of tiles of this shard.

    See Also
    --------
    finish : Publish the map.
    predict : Predict in one process, or on a dask cluster.

    Examples
    --------
    >>> import spatialdata as sd, pixnet_sd as ps
    >>> ps.tl.predict_shard(sd.read_zarr("a.zarr"), number=3, shards=8)  # doctest: +SKIP
    >>> ps.tl.finish(sd.read_zarr("a.zarr"))  # once, after all eight  # doctest: +SKIP
    ['he_programs']
    """
    options = PredictOptions.of(locals())
    if not 1 <= number <= shards:
        raise PixnetValueError(f"There is no shard {number} of {shards}; they are numbered from 1 to {shards}.")
    alone = MapWriter(sdata, make_plan(sdata, model, options))
    key = alone.names.programs
    folder = partial_folder(sdata, key)
    plan = share_tissue(alone.plan, options, folder)
    writer = replace(alone, plan=plan)
    if exist_ok and is_there(writer):
        return 0
    check_shard(writer)
    report_tiles(plan)
    with open_partial_shard(folder, key, writer.blank, plan.identity, f"{number}-of-{shards}", driven=False) as growing:
        write_options(folder, plan.options, plan.model, plan.tissue)
        own = split_parts(plan.windows, growing.file_px, plan.how.batch_size, shards)[number - 1]
        missing = missing_tiles(plan, growing, own)
        check_space_for(sdata, key, plan, missing)
        report_seam(plan)
        compute_here(plan, growing, missing, progress=progress)
    return len(own)


def share_tissue(plan: PredictionPlan, options: PredictOptions, folder: Path) -> PredictionPlan:
    """Take the tissue that the first shard found: on another processor, a pixel of it might come out otherwise."""
    found = read_found_tissue(folder) if options.tissue_key == AUTO else None
    return plan if found is None else replace(plan, tissue=found)


def check_shard(writer: MapWriter) -> None:
    """Check that a shard can be computed and written here."""
    check_machine(writer.plan.how)
    if is_publishing(writer.sdata, writer.names.programs):
        raise PixnetRuntimeError(f"{writer.names.programs!r} is complete and on its way into the store: finish it.")
    writer.check_names()


def finish(sdata: SpatialData) -> list[str]:
    """Verify all maps whose shards were computed, and publish them in the store.

    Every tile is read back and compared with the checksum that was noted when it was computed. Where tiles are
    missing, the error names their shards, and the store stays as it is. It also finishes what an interrupted dask
    cluster left.

    Parameters
    ----------
    sdata
        SpatialData object, backed by the store.

    Returns
    -------
    Names of the maps, e.g. ``["he_programs"]``. They are attached to the object as by :func:`predict`.

    Raises
    ------
    PixnetError
        If no shards wait, or tiles are missing.

    See Also
    --------
    predict_shard : Compute one shard.

    Examples
    --------
    >>> import spatialdata as sd, pixnet_sd as ps
    >>> ps.tl.finish(sd.read_zarr("a.zarr"))  # doctest: +SKIP
    ['he_programs']
    """
    found = list_waiting(sdata)
    if not found:
        raise PixnetValueError(
            f"There is nothing to finish beside {store_path(sdata)}: run its shards first, each once."
        )
    return [finish_map(sdata, folder) for folder in found]


def list_waiting(sdata: SpatialData) -> list[Path]:
    """List folders beside the store that shards, or an interrupted cluster, left there."""
    return [folder for folder in list_partial_folders(sdata) if has_options(folder)]


def finish_map(sdata: SpatialData, folder: Path) -> str:
    options, model, tissue = read_options(folder)
    writer = MapWriter(sdata, make_plan(sdata, model, options, tissue))
    with writer.to_store(resume=True) as (growing, missing):
        check_complete(writer.plan, growing, writer.names.programs, missing)
    return writer.names.programs
