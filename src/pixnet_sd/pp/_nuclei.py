"""Find nuclei on an H&E image, or cells around them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, overload

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from spatialdata import SpatialData
from tqdm.auto import tqdm

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import resolve_key
from pixnet_sd._keys import tissue_key as default_tissue_key
from pixnet_sd._raster import nuclei as by_stain
from pixnet_sd._raster.cells import CellOptions, Cells, Detector, find_cells
from pixnet_sd._raster.grid import Tile, make_tiles
from pixnet_sd._raster.picture import Picture
from pixnet_sd._sdata import affine, build, elements, images, units
from pixnet_sd._sdata.masks import Tissue, read_labels_as_tissue
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._settings import logger, settings
from pixnet_sd.nn import nuclei as by_network

MPP = 0.5
"""µm per pixel at which nuclei are found, whatever the image has."""
COARSEST_MPP = 1.0
"""A nucleus of 6 µm is six pixels there; on coarser images outlines are guesses."""
LARGEST_UM = 20.0
"""Distance from the middle of a nucleus to its farthest part: no object that is larger is one."""
LARGEST_CELL_UM = 50.0
TILE_PX = 2048
WORKERS = 2
"""Tiles at once: half a gigabyte each."""
TISSUE_STEP = 16
"""Pixels per pixel of tissue that is looked up: 8 µm, as pp.tissue has it."""


Method = Literal["stain", "network"]


@overload
def nuclei(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
    method: Method = ...,
    expand_um: float = ...,
    min_area_um2: float = ...,
    tissue_key: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> GeoDataFrame: ...


@overload
def nuclei(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
    method: Method = ...,
    expand_um: float = ...,
    min_area_um2: float = ...,
    tissue_key: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
    progress: bool | None = ...,
) -> None: ...


def nuclei(
    sdata: SpatialData,
    image_key: str | None = None,
    *,
    method: Method = "stain",
    expand_um: float = 0.0,
    min_area_um2: float = 15.0,
    tissue_key: str | None = None,
    value_range: tuple[float, float] | None = None,
    key_added: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
    progress: bool | None = None,
) -> GeoDataFrame | None:
    """Find nuclei on an H&E image, as one polygon each; with `expand_um`, cells around them.

    Nuclei are what is darker in red light, where hematoxylin absorbs and eosin hardly does, than its surroundings.
    Those that touch are parted by a watershed from the peaks of depth and stain. The image is resampled to 0.5 µm per
    pixel and read in tiles; the result is that of the whole image at once, and outlines never overlap.

    Parameters
    ----------
    sdata
        The object that holds the image.
    image_key
        The H&E image. Optional if the object has exactly one.
    method
        ``"stain"``, thresholds and shapes alone, or ``"network"``: a small one that was trained on 105 tiles. It finds
        more of the pale nuclei, and takes more of the collagen for nuclei.
    expand_um
        Grow each nucleus by up to this many µm where no other one is nearer, for cells.
    min_area_um2
        Area below which what was found is no nucleus: debris, or the end of a nucleus that was hardly cut.
    tissue_key
        Labels that mark tissue, ``"{image}_tissue"`` by default. Without them, nuclei are sought on the whole image.
    value_range
        Intensity range ``(black, white)`` of images that are not uint8, e.g. ``(0, 65535)``.
    key_added
        Name of the shapes; ``"nuclei"`` by default, ``"cells"`` with `expand_um`.
    overwrite
        Replace shapes of that name.
    inplace
        Add the shapes to the object. Otherwise they are returned.
    progress
        Show a progress bar; by default ``ps.settings.progress``.

    Returns
    -------
    The shapes element if ``inplace=False``, else None. It has one valid polygon for each nucleus, numbered from the
    top of the image to the bottom, and its area in the column ``area_um2``.

    Raises
    ------
    PixnetValueError
        If the image is coarser than 1 µm per pixel, or nothing is found on it.

    See Also
    --------
    pixnet_sd.tl.aggregate : Expression of each nucleus or cell, from a map.
    pixnet_sd.io.outlines : Read outlines that QuPath, StarDist, InstanSeg or Cellpose have found.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.pp.nuclei(sdata)
    >>> bool(sdata.shapes["nuclei"].geometry.is_valid.all())
    True
    """
    key = elements.find_image_key(sdata, image_key)
    name = key_added or ("cells" if expand_um else "nuclei")
    if inplace:
        check_results(sdata, {name: "shapes"}, overwrite=overwrite)
    search = plan_search(sdata, key, method, value_range, tissue_key, min_area_um2, expand_um)
    frame = make_shapes(sdata, key, search, find_all(search, progress))
    logger.info("found %s nuclei, median %.0f µm²", f"{len(frame):,}", frame["area_um2"].median())
    if not inplace:
        return frame
    facts = {
        "kind": "nuclei",
        "image": key,
        "method": method,
        "expand_um": float(expand_um),
        "tissue": search.tissue_key,
    }
    attach(sdata, {name: frame}, {name: facts}, overwrite=overwrite)
    return None


@dataclass(frozen=True)
class NucleusSearch:
    """Where and how nuclei are sought."""

    picture: Picture
    step: tuple[float, float]
    """Size of a pixel of the picture (x, y) in pixels of the image."""
    mpp: float
    """µm per pixel of the picture."""
    detector: Detector
    options: CellOptions
    tissue_key: str | None
    tissue: Tissue | None
    """Labels as seen from pixels that are `TISSUE_STEP` times larger than the picture's."""
    tile_px: int = TILE_PX

    @property
    def tiles(self) -> Iterator[Tile]:
        margin, stride = self.options.margin(self.detector), self.detector.stride
        return make_tiles(*self.picture.grid.shape, size=self.tile_px, stride=stride, margin=margin)


def plan_search(
    sdata: SpatialData,
    key: str,
    method: Method,
    value_range: tuple[float, float] | None,
    tissue_key: str | None,
    min_area_um2: float,
    expand_um: float,
) -> NucleusSearch:
    detector = make_detector(method)
    image_mpp = check_sizes(key, units.image_mpp(sdata, key), min_area_um2, expand_um)
    image = images.read_rgb(sdata, key, value_range)
    picture, step = images.at_step(image, MPP / image_mpp)
    mpp = image_mpp * float(np.sqrt(np.prod(step)))
    options = CellOptions(min_area_um2 / mpp**2, round(LARGEST_UM / mpp), round(expand_um / mpp))
    marked = find_tissue_labels(sdata, key, tissue_key)
    tissue = None
    if marked is not None:
        to_source = np.diag([step[0] * TISSUE_STEP, step[1] * TISSUE_STEP, 1.0])
        tissue = read_labels_as_tissue(sdata, marked, key, to_source)
    return NucleusSearch(picture, step, mpp, detector, options, marked, tissue)


def make_detector(method: Method) -> Detector:
    if method == "stain":
        return Detector(by_stain.detect_nuclei, by_stain.REACH, by_stain.STRIDE)
    if method == "network":
        return Detector(by_network.detect_with(by_network.bundled_net()), by_network.REACH, by_network.STRIDE)
    raise PixnetValueError(f'method must be "stain" or "network"; got {method!r}.')


def check_sizes(key: str, image_mpp: float, min_area_um2: float, expand_um: float) -> float:
    if image_mpp > COARSEST_MPP:
        raise PixnetValueError(
            f"Image {key!r} has {image_mpp:.3g} µm per pixel; nuclei can be told apart up to {COARSEST_MPP:g}. Use a "
            "finer scan, or bins: pp.bins(sdata, 8)."
        )
    if not min_area_um2 >= 0:
        raise PixnetValueError(f"min_area_um2 must not be negative; got {min_area_um2}.")
    if not 0 <= expand_um <= LARGEST_CELL_UM:
        raise PixnetValueError(f"expand_um must be between 0 and {LARGEST_CELL_UM:g} µm; got {expand_um}.")
    return image_mpp


def find_tissue_labels(sdata: SpatialData, image_key: str, tissue_key: str | None) -> str | None:
    key = tissue_key or default_tissue_key(image_key)
    if key in sdata.labels:
        return key
    return None if tissue_key is None else resolve_key("labels", tissue_key, sdata.labels, "tissue_key")


def find_all(search: NucleusSearch, progress: bool | None) -> Cells:
    """Cells of all tiles, from the top of the image to the bottom; a few tiles are in memory at a time."""
    tiles = list(search.tiles)
    hidden = not (settings.progress if progress is None else progress)
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1), "find-nuclei") as pool:
        parts = pool.map(partial(search_tile, search), tiles)
        found = list(tqdm(parts, "nuclei", total=len(tiles), unit="tile", disable=hidden, leave=False))
    polygons = np.concatenate([cells.polygons for cells in found])
    seeds = np.concatenate([cells.seeds_yx for cells in found])
    order = np.lexsort(seeds.T[::-1])
    return Cells(polygons[order], seeds[order])


def search_tile(search: NucleusSearch, tile: Tile) -> Cells:
    on_tissue = None if search.tissue is None else search.tissue.on(tile.core.coarsened(TISSUE_STEP))
    if on_tissue is not None and not on_tissue.any():
        return Cells(np.empty(0, object), np.empty((0, 2), int))
    cells = find_cells(search.picture, tile, search.detector, search.options)
    if on_tissue is None:
        return cells
    origin = np.array([tile.core.y0, tile.core.x0]) // TISSUE_STEP
    kept = on_tissue[tuple((cells.seeds_yx // TISSUE_STEP - origin).T)]
    return Cells(cells.polygons[kept], cells.seeds_yx[kept])


def make_shapes(sdata: SpatialData, key: str, search: NucleusSearch, cells: Cells) -> Any:
    if not len(cells.polygons):
        raise PixnetValueError(
            f"No nuclei were found on image {key!r}, and an element cannot be empty. Check its µm per pixel, "
            f"{search.mpp:.3g} after resampling, its colors and the tissue labels; or lower min_area_um2."
        )
    areas = shapely.area(cells.polygons) * search.mpp**2
    polygons = shapely.transform(cells.polygons, lambda points: points * search.step)
    return build.make_polygons(
        polygons, pd.RangeIndex(len(polygons)), affine.get_transformations(sdata.images[key]), area_um2=areas
    )
