"""From an image to a dense map of gene expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import xarray as xr
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError, PixnetTypeError
from pixnet_sd._settings import logger
from pixnet_sd.nn.inference.predict import check_machine
from pixnet_sd.nn.model.model import Model
from pixnet_sd.tl._prediction.dask import compute_on_workers, has_workers
from pixnet_sd.tl._prediction.diagnostics import report_cut_edges, report_seam, report_tiles, warn_if_unfamiliar
from pixnet_sd.tl._prediction.existing import is_there
from pixnet_sd.tl._prediction.options import PredictOptions
from pixnet_sd.tl._prediction.plan import load_model, make_plan
from pixnet_sd.tl._prediction.tiles import compute_here
from pixnet_sd.tl._prediction.writer import MapWriter

Image = xr.DataArray | xr.DataTree


@overload
def predict(
    sdata: SpatialData | Sequence[SpatialData],
    image_key: str | None = ...,
    *,
    model: Model | str | Path | None = ...,
    genes: Sequence[str] | None = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    image_key_added: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    resume: bool = ...,
    exist_ok: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    augment: bool = ...,
    compile: bool = ...,
    backend: str | None = ...,
    inplace: Literal[True] = ...,
    progress: bool | None = ...,
) -> None: ...
@overload
def predict(
    sdata: Sequence[SpatialData],
    image_key: str | None = ...,
    *,
    model: Model | str | Path | None = ...,
    genes: Sequence[str] | None = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    image_key_added: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    resume: bool = ...,
    exist_ok: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    augment: bool = ...,
    compile: bool = ...,
    backend: str | None = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> list[Image]: ...
@overload
def predict(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
    model: Model | str | Path | None = ...,
    genes: Sequence[str] | None = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    image_key_added: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    resume: bool = ...,
    exist_ok: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    augment: bool = ...,
    compile: bool = ...,
    backend: str | None = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> Image: ...
def predict(
    sdata: SpatialData | Sequence[SpatialData],
    image_key: str | None = None,
    *,
    model: Model | str | Path | None = None,
    genes: Sequence[str] | None = None,
    mpp: float | None = None,
    tissue_key: str | None = "auto",
    image_key_added: str | None = None,
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    resume: bool = True,
    exist_ok: bool = False,
    overwrite: bool = False,
    device: str | None = None,
    batch_size: int | None = None,
    tile_size: int | None = None,
    augment: bool = False,
    compile: bool = False,
    backend: str | None = None,
    inplace: bool = True,
    progress: bool | None = None,
) -> Image | list[Image] | None:
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
        Labels that mark tissue. By default those of :func:`pixnet_sd.pp.tissue`, ``"{image}_tissue"``, and where there
        are none, what it would find. Pixels off the tissue are NaN, and tiles without tissue are not computed. `None`
        predicts the whole image, as does tissue that cannot be relied on: off which too many measured shapes lie, or
        dark pixels, which no glass has. The log says which.
    image_key_added
        Name of the image of genes, ``"{image}_expression"`` by default. Programs and loadings are named after it too.
    value_range
        Black and white of an image that is not uint8, e.g. ``(0, 65535)``.
    allow_upsample
        Interpolate an image that is coarser than what the model was trained on.
    resume
        Resume an interrupted prediction. If False, start over.
    exist_ok
        Do nothing if the map exists and was made by the same model from the same image and tissue. A map that was made
        otherwise is an error, which says how it differs.
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
    backend
        ``"torch"``, ``"openvino"``, or ``"auto"``: OpenVINO on a CPU where it is installed (``pixnet-sd[fast]``), which
        takes less than half of torch's time. By default ``ps.settings.backend``, which is ``"auto"``.
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
    options = PredictOptions.of(locals())
    if isinstance(sdata, str | PathLike):
        raise PixnetTypeError(f"Predict needs a SpatialData object, not the path {sdata!r}: spatialdata.read_zarr it.")
    one = partial(
        predict_slide,
        model=load_model(model),
        options=options,
        resume=resume,
        exist_ok=exist_ok,
        inplace=inplace,
        progress=progress,
    )
    return predict_each(one, sdata, inplace=inplace) if isinstance(sdata, Sequence) else one(sdata)


def predict_slide(
    sdata: SpatialData,
    *,
    model: Model,
    options: PredictOptions,
    resume: bool,
    exist_ok: bool,
    inplace: bool,
    progress: bool | None,
) -> Image | None:
    writer = MapWriter(sdata, make_plan(sdata, model, options))
    plan, to_store = writer.plan, inplace and sdata.is_backed()
    if inplace and exist_ok and is_there(writer):
        return None
    report_tiles(plan)
    warn_if_unfamiliar(plan, writer.outlier_share)
    report_cut_edges(plan)
    on_workers = to_store and has_workers(plan, sdata)
    if not on_workers:
        check_machine(plan.how)
    if not to_store:
        return predict_in_memory(writer, inplace=inplace, progress=progress)
    with writer.to_store(resume=resume) as (growing, missing):
        if missing and on_workers:
            compute_on_workers(writer, growing, missing, progress=progress)
        elif missing:
            report_seam(plan)
            compute_here(plan, growing, missing, progress=progress)
    return None


def predict_in_memory(writer: MapWriter, *, inplace: bool, progress: bool | None) -> Image | None:
    if inplace:
        writer.check_names()
    plan = writer.plan
    report_seam(plan)
    values = np.full(plan.shape, np.nan, np.float32)
    for window, block in plan.blocks(range(len(plan.tiles)), progress=progress):
        values[:, *window.slices] = block
    if inplace:
        writer.attach(values)
        return None
    return writer.make_result(values)


def predict_each(
    predict_one: Callable[[SpatialData], Any], slides: Sequence[SpatialData], *, inplace: bool
) -> list[Image] | None:
    """Predict all slides; errors are collected and raised after the last one."""
    results, errors = [], {}
    for number, slide in enumerate(slides, 1):
        try:
            results.append(predict_one(slide))
        except Exception as error:  # noqa: BLE001 - it is raised below, with the others
            logger.warning("%s failed; the next one follows", slide_name(number, slide))
            errors[slide_name(number, slide)] = error
    if errors:
        listed = "".join(f"\n- {which}: {type(error).__name__}: {error}" for which, error in errors.items())
        raise PixnetRuntimeError(
            f"{len(errors)} of {len(slides)} slides could not be predicted; {describe_others(inplace=inplace)}{listed}"
        ) from ExceptionGroup("one for each of these slides", [*errors.values()])
    return None if inplace else results


def describe_others(*, inplace: bool) -> str:
    if inplace:
        return "the others are done."
    return (
        "with inplace=False nothing is kept of the others. Call it again without these slides, or with inplace=True, "
        "which keeps what is done."
    )


def slide_name(number: int, slide: object) -> str:
    path = getattr(slide, "path", None)
    return f"slide {number}" if path is None else f"slide {number} ({path})"
