"""Export rasters as OME-TIFF: a pyramid with named channels and µm per pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._sdata import counts, elements, images, maps, units
from pixnet_sd._sdata.build import pyramid_factors
from pixnet_sd._settings import logger
from pixnet_sd.io._exports import whole_target

TILE_PX = 256


def to_ome_tiff(
    sdata: SpatialData,
    raster_key: str,
    path: str | Path,
    *,
    genes: Sequence[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image or a predicted map as a tiled OME-TIFF with coarser levels.

    QuPath, Fiji, napari and Vitessce open it. H&E images are written as RGB, others with one plane for each channel or
    gene; pixels without a value stay NaN.

    Parameters
    ----------
    sdata
        SpatialData object with the raster.
    raster_key
        Key of the image, e.g. ``"he"``, or of a map, e.g. ``"he_programs"`` or ``"he_expression"``.
    path
        New file, ``.ome.tif`` or ``.ome.tiff``.
    genes
        Genes of a map, or channels of any other raster. Default: all. Each gene is computed from the programs, so
        name those that are looked at.
    overwrite
        Whether to replace an existing file.

    See Also
    --------
    pixnet_sd.io.slide : Read images from files.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.io.to_ome_tiff(sdata, "he", "he.ome.tif")
    >>> ps.io.slide("he.ome.tif")["he"].shape
    (3, 256, 256)
    """
    chosen = counts.asked_genes(genes)
    in_color = chosen is None and images.is_color(sdata, elements.find_image_key(sdata, raster_key))
    raster = maps.read_map(sdata, raster_key, chosen)
    mpp = raster.mpp if raster.mpp is not None else next(iter(units.stated_mpp(sdata, raster_key).values()), None)
    levels = make_levels(raster.expanded())
    with whole_target(path, (".ome.tif", ".ome.tiff"), overwrite=overwrite) as partial:
        write_levels(partial, levels, describe_channels(raster.genes, mpp, in_color), in_color)
    scale = "unknown µm per pixel" if mpp is None else f"{mpp:.4g} µm per pixel"
    logger.info("wrote %d channels at %s, %d levels, to %s", len(raster.genes), scale, len(levels), path)


def make_levels(finest: da.Array) -> list[da.Array]:
    """Make coarser levels of (c, y, x), each the means over 2 x 2 pixels of the one before."""
    levels = [finest.rechunk((1, TILE_PX, -1) if finest.dtype.kind == "f" else (-1, TILE_PX, -1))]
    for _ in pyramid_factors(finest.shape[1:]) or ():
        means = da.coarsen(mean_without_nan, levels[-1].astype(np.float32), {1: 2, 2: 2}, trim_excess=True)
        rounded = means if finest.dtype.kind == "f" else da.round(means)
        levels.append(rounded.astype(finest.dtype))
    return levels


def mean_without_nan(block: np.ndarray, axis: tuple[int, ...] | None = None) -> Any:
    """Average what is not NaN; NaN where nothing is."""
    known = ~np.isnan(block)
    count = known.sum(axis=axis)
    total = np.asarray(np.where(known, block, 0).sum(axis=axis))
    return np.divide(total, count, out=np.full(total.shape, np.nan, total.dtype), where=count > 0)


def describe_channels(names: Sequence[str], mpp: float | None, in_color: bool) -> dict[str, Any]:
    """Make OME metadata."""
    found: dict[str, Any] = {"axes": "YXS"} if in_color else {"axes": "CYX", "Channel": {"Name": list(names)}}
    if mpp is not None:
        sizes = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
        found |= {**sizes, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    return found


def write_levels(path: Path, levels: Sequence[da.Array], metadata: dict[str, Any], in_color: bool) -> None:
    options: dict[str, Any] = {
        "tile": (TILE_PX, TILE_PX),
        "compression": "zlib",
        "photometric": "rgb" if in_color else "minisblack",
    }
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for number, level in enumerate(levels):
            shape = (*level.shape[1:], level.shape[0]) if in_color else level.shape
            own: dict[str, Any] = (
                {"subifds": len(levels) - 1, "metadata": metadata} if number == 0 else {"subfiletype": 1}
            )
            file.write(iterate_tiles(level, in_color), shape=shape, dtype=level.dtype, **options, **own)


def iterate_tiles(level: da.Array, in_color: bool) -> Iterator[np.ndarray]:
    """Yield tiles plane by plane, each row of tiles computed once; those at the edges are smaller."""
    planes = [level] if in_color else [level[channel : channel + 1] for channel in range(level.shape[0])]
    for plane in planes:
        for top in range(0, level.shape[1], TILE_PX):
            strip = np.moveaxis(load_lazy(plane[:, top : top + TILE_PX]), 0, 2)
            for left in range(0, level.shape[2], TILE_PX):
                tile = strip[:, left : left + TILE_PX]
                yield tile if in_color else tile[..., 0]
