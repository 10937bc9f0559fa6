"""From an image to a dense map of gene expression."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from spatialdata import SpatialData
from tqdm.auto import tqdm

from pixnet_sd import __version__
from pixnet_sd._grid import Tile, Window
from pixnet_sd._keys import expression_key, loadings_key, programmes_key
from pixnet_sd._log import logger
from pixnet_sd._sdata import affine, build, levels, maps, publication, store, stream
from pixnet_sd._settings import settings
from pixnet_sd.tl._job import Job, gene_table, prepare

SAMPLED_TILES = 3
"""Whose pixels stand for the image when a prediction is resumed."""


@dataclass(frozen=True)
class Names:
    """Of the elements that a prediction adds."""

    programmes: str
    loadings: str
    expression: str

    @property
    def all(self) -> list[str]:
        return [self.programmes, self.loadings, self.expression]


def predict(
    sdata: SpatialData,
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
    inplace: bool = True,
    progress: bool | None = None,
) -> Any:
    """Predict gene expression for every pixel of an H&E image.

    The network is run once per tile and gives a few programmes, from which all genes follow by a product with their
    loadings. The programmes are stored; genes are computed from them whenever they are read, never from the network.
    The result does not depend on tile size, batch size, or how the image is stored, but for rounding.

    Where the object is backed by a zarr store, tiles go to a folder beside it as they are finished, and the map is
    moved into the store when it is whole. After an interruption, even a kill, the same call resumes and ends with the
    same bytes. A few tiles are in memory at any time.

    Parameters
    ----------
    sdata
        The object that holds the image.
    image_key
        The H&E image; may be left out when there is one.
    model
        A ``ps.Model``, or the name or folder of one; by default the bundled one.
    genes
        Genes to write out as a plain image element that any tool can read. By default all genes are attached lazily,
        as long as they stay under ``ps.settings.raster_limit``.
    mpp
        µm per pixel of the image, where the object does not say it.
    tissue_key
        Labels that mark tissue; ``"{image}_tissue"`` by default. Tiles without tissue are not computed, and pixels
        outside it are NaN. Without such labels, the whole image is predicted.
    image_key_added
        Name of the image of genes, ``"{image}_expression"`` by default. Programmes and loadings are named after it too.
    value_range
        Black and white of an image that is not uint8, e.g. ``(0, 65535)``.
    allow_upsample
        Interpolate an image that is coarser than what the model was trained on.
    resume
        Take up what an interrupted call left. Otherwise begin anew.
    overwrite
        Replace elements of these names.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; by default the fastest there is.
    batch_size
        Tiles at once.
    tile_size
        Side in pixels of what a tile keeps. Larger ones are faster and take more memory.
    augment
        Average over the eight turned and mirrored views of each tile, at eight times the cost.
    inplace
        Add the result to the object. Otherwise the image of genes is returned, and nothing is stored.
    progress
        Show a progress bar; by default ``ps.settings.progress``.

    Returns
    -------
    None, or with ``inplace=False`` the image of genes. Added are

    - ``images["{image}_programmes"]``, what is stored;
    - ``tables["{image}_programmes_loadings"]``, programmes x genes, with held-out scores in ``var``;
    - ``images["{image}_expression"]``, with genes in ``c``: lazy, or plain for `genes`. In a backed object a lazy one
      belongs to the object, not to the store, which has the programmes; after reading the store again, use
      :func:`expand`.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.predict(sdata, model="my_model")  # doctest: +SKIP
    >>> sdata.images["he_expression"].sel(c="EPCAM")  # doctest: +SKIP
    """
    job = prepare(
        sdata,
        image_key,
        model,
        mpp=mpp,
        tissue_key=tissue_key,
        value_range=value_range,
        allow_upsample=allow_upsample,
        device=device,
        tile_size=tile_size,
        batch_size=batch_size,
        augment=augment,
    )
    names = names_for(job.image_key, image_key_added)
    if inplace and sdata.is_backed():
        return predict_to_store(sdata, job, names, genes, resume=resume, overwrite=overwrite, progress=progress)
    return predict_in_memory(sdata, job, names, genes, inplace=inplace, overwrite=overwrite, progress=progress)


def predict_in_memory(
    sdata: SpatialData,
    job: Job,
    names: Names,
    genes: Sequence[str] | None,
    *,
    inplace: bool,
    overwrite: bool,
    progress: bool | None,
) -> Any:
    if inplace:
        store.check(sdata, names.all, overwrite=overwrite)
    programmes = levels.filled(blank(sdata, job), collect(job, progress))
    raster = raster_of(job, names, programmes, genes)
    expression = levels.expanded(programmes, raster)
    if genes is not None:
        expression = levels.filled(expression, levels.arrays_of(expression)[0].compute())
    if not inplace:
        return expression
    elements = {names.loadings: loadings_table(job), names.programmes: programmes}
    if genes is not None or is_small(names, raster):
        elements[names.expression] = expression
    store.enter(sdata, elements, facts_of(job, names, plain=genes is not None))
    return None


def predict_to_store(
    sdata: SpatialData,
    job: Job,
    names: Names,
    genes: Sequence[str] | None,
    *,
    resume: bool,
    overwrite: bool,
    progress: bool | None,
) -> None:
    begun = resume and publication.is_begun(sdata, names.programmes)
    store.check(sdata, names.all, overwrite=overwrite or begun)
    facts = facts_of(job, names, plain=genes is not None)
    plan = {**facts[names.programmes], **fingerprint(job), "genes": genes if genes is None else list(genes)}
    with stream.growing(sdata, names.programmes, blank(sdata, job), plan, resume=resume) as growing:
        if not begun:
            write_raster(sdata, job, names, growing, progress)
            after = {} if genes is None else {names.expression: staged_genes(sdata, job, names, growing, genes)}
            publication.stage(growing, {names.loadings: loadings_table(job)}, after)
        obsolete = names.expression if genes is None and overwrite else None
        store.enter(sdata, publication.publish(sdata, growing, obsolete=obsolete), facts)
        publication.dispose(growing)
    if genes is None:
        attach_genes(sdata, job, names, facts)


def write_raster(sdata: SpatialData, job: Job, names: Names, growing: stream.Growing, progress: bool | None) -> None:
    windows = {number: job.window(tile) for number, tile in enumerate(job.plan)}
    numbers = whole_batches(growing.missing(windows), len(windows), job.how.batch_size)
    stream.check_space(sdata, names.programmes, job.shape[0] * sum(windows[number].area for number in numbers))
    if len(numbers) < len(windows):
        logger.info("resuming: %d of %d tiles are done", len(windows) - len(numbers), len(windows))
    blocks = shown(job, [job.plan[number] for number in numbers], progress)
    growing.fill((number, window, block) for number, (window, block) in zip(numbers, blocks, strict=True))
    growing.add_levels()


def whole_batches(missing: set[int], count: int, size: int) -> list[int]:
    """The missing tiles and those that share a batch with one: a tile's last bits may depend on its batch."""
    return [number for number in range(count) if any(n in missing for n in batch_of(number, count, size))]


def batch_of(number: int, count: int, size: int) -> range:
    first = number // size * size
    return range(first, min(first + size, count))


def shown(job: Job, plan: Sequence[Tile], progress: bool | None) -> Iterator[tuple[Window, np.ndarray]]:
    """The blocks, with a progress bar."""
    hidden = not (settings.progress if progress is None else progress)
    yield from tqdm(job.blocks(plan), "predict", total=len(plan), unit="tile", disable=hidden, leave=False)


def collect(job: Job, progress: bool | None) -> np.ndarray:
    """The raster of programmes, in memory."""
    values = np.full(job.shape, np.nan, np.float32)
    for window, block in shown(job, job.plan, progress):
        values[:, *window.slices] = block
    return values


def staged_genes(sdata: SpatialData, job: Job, names: Names, growing: stream.Growing, genes: Sequence[str]) -> Any:
    """Genes over programmes that are not in the store yet."""
    programmes = levels.with_arrays(blank(sdata, job), growing.lazy_levels())
    return levels.expanded(programmes, raster_of(job, names, programmes, genes))


def attach_genes(sdata: SpatialData, job: Job, names: Names, facts: dict[str, dict[str, Any]]) -> None:
    """The image of genes over the programmes in the store, for this object only."""
    programmes = sdata.images[names.programmes]
    raster = raster_of(job, names, programmes, None)
    if is_small(names, raster):
        store.enter(sdata, {names.expression: levels.expanded(programmes, raster)}, facts)
    elif names.expression in sdata.images:
        del sdata.images[names.expression]


def names_for(image_key: str, image_key_added: str | None) -> Names:
    programmes = programmes_key(image_key_added or image_key)
    return Names(programmes, loadings_key(programmes), image_key_added or expression_key(image_key))


def blank(sdata: SpatialData, job: Job) -> Any:
    transformations = affine.grid_transformations(sdata.images[job.image_key], job.grid)
    return levels.blank_raster(job.shape, job.programmes, transformations)


def raster_of(job: Job, names: Names, programmes: Any, genes: Sequence[str] | None) -> maps.Map:
    found = job.as_map(names.programmes, levels.arrays_of(programmes)[0])
    return found if genes is None else maps.of_genes(found, genes)


def loadings_table(job: Job) -> Any:
    table = build.loadings(job.model.loadings, job.programmes, gene_table(job.model))
    table.uns["pixnet_sd"] = {"sha256": job.sha256}
    return table


def facts_of(job: Job, names: Names, *, plain: bool) -> dict[str, dict[str, Any]]:
    made = {"tissue_digest": None if job.tissue is None else job.tissue_digest, **job.facts()}
    shared = {name: job.facts()[name] for name in ("image", "unit", "mpp", "model", "sha256")}
    expression = {"kind": "expression", **shared} | ({} if plain else {"programmes": names.programmes})
    return {
        names.programmes: {"kind": "programmes", **made},
        names.loadings: {"kind": "loadings", "sha256": shared["sha256"]},
        names.expression: expression,
    }


def fingerprint(job: Job) -> dict[str, Any]:
    """What else must not change between the parts of one raster."""
    pixels = hashlib.blake2b(digest_size=8)
    for tile in job.plan[:: max(1, len(job.plan) // SAMPLED_TILES)]:
        pixels.update(job.picture.read(tile.read).tobytes())
    return {"version": __version__, "grid": asdict(job.grid), "pixels": pixels.hexdigest()}


def is_small(names: Names, raster: maps.Map) -> bool:
    """Whether all genes may be attached; otherwise a line in the log says how to get some."""
    needed = len(raster.genes) * raster.data[0].size * 4
    if needed > settings.raster_limit:
        logger.info(
            "%d genes would take %.1f GB when written, more than settings.raster_limit; "
            "tl.expand(sdata, genes=[...], image_key=%r) attaches some of them",
            len(raster.genes),
            needed / 1e9,
            names.programmes,
        )
    return needed <= settings.raster_limit
