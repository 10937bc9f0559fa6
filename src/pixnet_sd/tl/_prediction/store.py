"""A prediction on its way into a zarr store: what is missing is computed, the whole is verified and published."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from pixnet_sd._errors import PixnetRuntimeError, warn
from pixnet_sd._sdata import affine, levels, provenance
from pixnet_sd._sdata.storage import origin, places
from pixnet_sd._sdata.storage import publish as publication
from pixnet_sd._sdata.storage.attach import attach_in_memory, check_results
from pixnet_sd._sdata.storage.growing import PartialRaster, check_space, open_partial
from pixnet_sd._sdata.storage.paths import store_path
from pixnet_sd._settings import logger
from pixnet_sd.tl._prediction.output import MapOutput, is_small
from pixnet_sd.tl._prediction.parts import split_parts

Compute = Callable[[MapOutput, PartialRaster, Sequence[int]], None]
"""Fills the tiles with these numbers, wherever that is done."""


def predict_to_store(task: MapOutput, compute: Compute, *, resume: bool) -> None:
    sdata, names, overwrite = task.sdata, task.names, task.request.overwrite
    begun = resume and publication.is_publishing(sdata, names.programs)
    done = added_already(task) if begun else set()
    check_results(sdata, names.kinds, overwrite=overwrite, done=done)
    require = partial(places.require_places, sdata, names.kinds, overwrite=overwrite, done=done)
    with open_partial(sdata, names.programs, task.blank, task.plan, resume=resume) as growing:
        if begun:
            require_same_image(task, growing)
        else:
            write_raster(task, growing, compute)
            programs = staged_programs(task, growing)
            after = {} if task.genes is None else {names.expression: staged_genes(task, programs)}
            publication.stage_map(growing, {names.loadings: loadings(task, growing)}, after)
        obsolete = names.expression if task.genes is None and overwrite else None
        tables = {names.loadings: loadings(task, growing)}
        attach_in_memory(
            sdata, publication.publish_map(sdata, growing, tables, task.facts, require, obsolete=obsolete), task.facts
        )
        if task.genes is None:
            attach_genes(task)
        renew_genes(task)
        publication.delete_partial(growing)


def added_already(task: MapOutput) -> set[str]:
    """What a call that was stopped has moved into the store, or attached to this object over what it had moved."""
    moved = publication.moved(task.sdata, task.names.programs)
    stored = {name for _, name in places.on_disk(store_path(task.sdata))}
    lazy = {task.names.expression} - stored if task.genes is None and task.names.programs in moved else set()
    return moved | lazy


def write_raster(task: MapOutput, growing: PartialRaster, compute: Compute) -> None:
    numbers = tiles_to_compute(task, growing)
    check_room(task, numbers)
    if numbers:
        compute(task, growing, numbers)
    growing.add_levels()


def check_room(task: MapOutput, numbers: Sequence[int]) -> None:
    needed = task.job.shape[0] * sum(task.windows[number].area for number in numbers)
    check_space(task.sdata, task.names.programs, needed)


def tiles_to_compute(task: MapOutput, growing: PartialRaster, of: Sequence[int] | None = None) -> list[int]:
    """Numbers of the tiles that are not there yet, or from other pixels, with those of their batches."""
    windows = task.windows if of is None else {number: task.windows[number] for number in of}
    present = growing.present(windows)
    changed = task.changed(present)
    if changed:
        warn(
            f"Image {task.job.image_key!r} has changed under {len(changed)} of the {len(present)} tiles that were "
            "done, so these do not count any more."
        )
    missing = windows.keys() - (present.keys() - changed)
    numbers = whole_batches(missing, len(task.windows), task.job.how.batch_size)
    if len(numbers) < len(windows):
        logger.info("resuming: %d of %d tiles are done", len(windows) - len(numbers), len(windows))
    return numbers


def whole_batches(missing: set[int], count: int, size: int) -> list[int]:
    """The missing tiles and those that share a batch with one: a tile's last bits may depend on its batch."""
    return [number for number in range(count) if any(n in missing for n in batch_of(number, count, size))]


def batch_of(number: int, count: int, size: int) -> range:
    first = number // size * size
    return range(first, min(first + size, count))


def require_same_image(task: MapOutput, growing: PartialRaster) -> None:
    """What is complete was made from pixels that may be others by now."""
    changed = task.changed({number: {source for _, source in notes} for number, notes in growing.ledger.notes.items()})
    if changed:
        raise PixnetRuntimeError(
            f"{task.names.programs!r} is complete and on its way into the store, but image {task.job.image_key!r} "
            f"has changed under {len(changed)} of its {len(task.windows)} tiles since. Pass resume=False, "
            "overwrite=True to begin anew."
        )


def check_whole(task: MapOutput, growing: PartialRaster) -> None:
    """Nothing may be missing now."""
    growing.ledger.refresh()
    refuse_missing(task, growing, task.windows.keys() - growing.present(task.windows).keys())


def refuse_missing(task: MapOutput, growing: PartialRaster, missing: Collection[int]) -> None:
    """Also a way to compute, for where nothing is left to do."""
    if missing:
        raise PixnetRuntimeError(
            f"{len(missing)} of {len(task.windows)} tiles of {task.names.programs!r} are missing"
            f"{describe_shards(task, growing, missing)}. What is done is kept; run what is missing again."
        )


def describe_shards(task: MapOutput, growing: PartialRaster, missing: Collection[int]) -> str:
    """Which parts they belong to, where it was cut by hand."""
    count = task.request.shards
    if count is None:
        return ""
    cut = split_parts(task.windows, growing.file_px, task.job.how.batch_size, count)
    lacking = [f"{number}/{count}" for number, part in enumerate(cut, 1) if set(missing) & set(part)]
    return f", of shards {', '.join(lacking)}"


def staged_programs(task: MapOutput, growing: PartialRaster) -> Any:
    """Programs that are not in the store yet; beside their pixels stands what is known of them."""
    programs = task.stamped(task.names.programs, levels.with_arrays(task.blank, growing.lazy_levels()))
    origin.mark(growing.element, provenance.of_attributes(programs) or {})
    return programs


def loadings(task: MapOutput, growing: PartialRaster) -> Any:
    """With what stands beside the programs, wherever they are by now."""
    moved = store_path(task.sdata) / "images" / task.names.programs
    return task.loadings(origin.facts_of_group(growing.element if growing.element.exists() else moved) or {})


def staged_genes(task: MapOutput, programs: Any) -> Any:
    """Genes over programs that are not in the store yet."""
    return task.stamped(task.names.expression, levels.expand_genes(programs, task.raster(programs, task.genes)))


def attach_genes(task: MapOutput) -> None:
    """The image of genes over the programs in the store, for this object only."""
    sdata, names = task.sdata, task.names
    programs = sdata.images[names.programs]
    raster = task.raster(programs, None)
    if is_small(task, raster):
        attach_in_memory(sdata, {names.expression: levels.expand_genes(programs, raster)}, task.facts)
    else:
        forget_genes(task)


def renew_genes(task: MapOutput) -> None:
    """Genes that `tl.expand` attached over the map that was replaced are attached over the new one, or go."""
    sdata, names = task.sdata, task.names
    programs = sdata.images[names.programs]
    for name, element in list(sdata.images.items()):
        if name in names.all or not provenance.is_attached_over(element, names.programs):
            continue
        genes = [str(gene) for gene in affine.finest_array(element).coords["c"].values]
        del sdata.images[name]
        if set(genes) <= set(task.job.model.genes):
            facts = {**task.facts[names.expression], "programs": names.programs}
            attach_in_memory(sdata, {name: levels.expand_genes(programs, task.raster(programs, genes))}, {name: facts})
        else:
            logger.info("removed sdata.images[%r]: the new map has not all of its genes", name)


def forget_genes(task: MapOutput) -> None:
    """Those of an earlier prediction, where the new ones are too many to be attached."""
    if task.names.expression in task.sdata.images:
        del task.sdata.images[task.names.expression]
