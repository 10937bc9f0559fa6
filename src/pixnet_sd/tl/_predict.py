"""From an image to a dense map of gene expression."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from os import PathLike
from typing import Any

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError
from pixnet_sd._sdata import levels, provenance
from pixnet_sd._sdata.counts import asked_genes
from pixnet_sd._sdata.storage.attach import attach_in_memory, check_results
from pixnet_sd.nn.device import check_device
from pixnet_sd.tl._prediction.dask import compute_on_workers, has_workers
from pixnet_sd.tl._prediction.diagnostics import report_cut_edges, report_seam, warn_if_unfamiliar
from pixnet_sd.tl._prediction.local import compute_locally, compute_raster
from pixnet_sd.tl._prediction.many import for_each_slide
from pixnet_sd.tl._prediction.options import PredictOptions
from pixnet_sd.tl._prediction.output import MapOutput, is_small
from pixnet_sd.tl._prediction.plan import load_model
from pixnet_sd.tl._prediction.store import forget_genes, predict_to_store, renew_genes


def predict(
    sdata: SpatialData | Sequence[SpatialData],
    image_key: str | None = None,
    *,
    model: Any = None,
    genes: Sequence[str] | None = None,
    mpp: float | None = None,
    tissue_key: str | None = None,
    image_key_added: str | None = None,
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    resume: bool = True,
    overwrite: bool = False,
    device: str | None = None,
    batch_size: int | None = None,
    tile_size: int | None = None,
    augment: bool = False,
    compile: bool = False,
    inplace: bool = True,
    progress: bool | None = None,
) -> Any:
    """Predict gene expression for every pixel of an H&E image.

    The network is run once per tile and gives a few programs, from which all genes follow by a product with their
    loadings. The programs are stored; genes are computed from them whenever they are read, never from the network.
    The result does not depend on tile size, batch size, or how the image is stored, but for rounding.

    Where the object is backed by a zarr store, tiles go to a folder beside it as they are finished, and the map is
    moved into the store when it is whole. After an interruption, even a kill, the same call resumes and ends with the
    same bytes. A few tiles are in memory at any time. With an active ``dask.distributed`` client, its workers do the
    work, each its own part of the map, and the bytes are still the same.

    Parameters
    ----------
    sdata
        The object that holds the image, or a list of such objects, which are predicted one after the other. What goes
        wrong with one of them is told at the end, when the others are done.
    image_key
        The H&E image; may be left out when there is one.
    model
        A ``ps.Model``, or the name or folder of one; by default the bundled one.
    genes
        Genes to write out as a plain image element that any tool can read. By default all genes are attached lazily,
        as long as they stay under ``ps.settings.raster_limit``.
    mpp
        µm per pixel of the image, where the object does not say it; where it does, this counts, and more than 5 %
        between the two give a warning.
    tissue_key
        Labels that mark tissue; ``"{image}_tissue"`` by default. Tiles without tissue are not computed, and pixels
        outside it are NaN. Without such labels, the whole image is predicted.
    image_key_added
        Name of the image of genes, ``"{image}_expression"`` by default. Programs and loadings are named after it too.
    value_range
        Black and white of an image that is not uint8, e.g. ``(0, 65535)``.
    allow_upsample
        Interpolate an image that is coarser than what the model was trained on.
    resume
        Take up what an interrupted call left. Otherwise begin anew.
    overwrite
        Replace results of these names; what this package did not make is never replaced.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; by default the fastest there is.
    batch_size
        Tiles at once.
    tile_size
        Side in pixels of what a tile keeps. Larger ones are faster and take more memory.
    augment
        Average over the eight turned and mirrored views of each tile, at eight times the cost.
    compile
        Let torch compile the network first. That takes minutes and a C++ compiler; tiles then take about 0.6 of the
        time, so it pays on large slides.
    inplace
        Add the result to the object. Otherwise the image of genes is returned, and nothing is stored.
    progress
        Show a progress bar; by default ``ps.settings.progress``.

    Returns
    -------
    None, or with ``inplace=False`` the image of genes, for a list of objects a list. Added are

    - ``images["{image}_programs"]``, what is stored;
    - ``tables["{image}_programs_loadings"]``, programs x genes, with held-out scores in ``var``;
    - ``images["{image}_expression"]``, with genes in ``c``: lazy, or plain for `genes`. In a backed object a lazy one
      belongs to the object, not to the store, which has the programs; after reading the store again, use
      :func:`expand`.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.predict(sdata, model="my_model")  # doctest: +SKIP
    >>> sdata.images["he_expression"].sel(c="EPCAM")  # doctest: +SKIP
    """
    request = PredictOptions(
        image_key,
        image_key_added,
        asked_genes(genes),
        mpp,
        tissue_key,
        value_range,
        allow_upsample,
        overwrite,
        device,
        batch_size,
        tile_size,
        augment,
        compile,
    )
    if isinstance(sdata, str | PathLike):
        raise PixnetTypeError(f"Predict needs a SpatialData object, not the path {sdata!r}: spatialdata.read_zarr it.")
    one = partial(
        predict_one, request=request, model=load_model(model), resume=resume, inplace=inplace, progress=progress
    )
    return one(sdata) if not isinstance(sdata, Sequence) else for_each_slide(one, sdata, inplace=inplace)


def predict_one(
    sdata: SpatialData, *, request: PredictOptions, model: Any, resume: bool, inplace: bool, progress: bool | None
) -> Any:
    task = MapOutput(sdata, request, request.job(sdata, model))
    warn_if_unfamiliar(task.job)
    report_cut_edges(sdata, task.job)
    to_store = inplace and sdata.is_backed()
    if to_store and has_workers(task):
        return predict_to_store(task, partial(compute_on_workers, progress=progress), resume=resume)
    check_device(task.job.how.device)
    if not to_store:
        return predict_in_memory(task, inplace=inplace, progress=progress)
    return predict_to_store(task, partial(compute_locally, progress=progress), resume=resume)


def predict_in_memory(task: MapOutput, *, inplace: bool, progress: bool | None) -> Any:
    names = task.names
    if inplace:
        check_results(task.sdata, names.kinds, overwrite=task.request.overwrite)
    report_seam(task.job)
    programs = levels.fill_levels(task.blank, compute_raster(task.job, progress))
    raster = task.raster(programs, task.genes)
    expression = levels.expand_genes(programs, raster)
    if task.genes is not None:
        expression = levels.fill_levels(expression, levels.arrays_of(expression)[0].compute())
    if not inplace:
        return task.stamped(names.expression, expression)
    facts = provenance.described(programs, names.programs, task.facts[names.programs])
    elements = {names.loadings: task.loadings(facts), names.programs: programs}
    if task.genes is not None or is_small(task, raster):
        elements[names.expression] = expression
    else:
        forget_genes(task)
    attach_in_memory(task.sdata, elements, task.facts)
    renew_genes(task)
    return None
