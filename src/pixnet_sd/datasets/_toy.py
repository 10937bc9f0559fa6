"""A synthetic section as SpatialData: what is seen, what would be measured, and the truth behind both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import scipy.sparse as sp
import shapely
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import loadings_key
from pixnet_sd._raster.grid import Window
from pixnet_sd._sdata import build
from pixnet_sd._sdata import shapes as placement
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd.datasets._synthetic.histology import Histology

SPOT_DIAMETER_UM, SPOT_PITCH_UM = 55.0, 100.0
SIZES_PX = (256, 20_000)
LAZY_FROM_PX = 2048
BLOCK_PX = 1024
MOST_BINS = 5000
"""Along one side."""
LEAST_TISSUE = 0.5
UNIT = "counts/um2"


def toy(
    seed: int = 0,
    *,
    size_px: int = 1024,
    mpp: float = 0.5,
    bins_um: float | tuple[float, ...] = 8.0,
    bins_rotation_deg: float = 0.0,
    pyramid: bool = False,
    progress: bool | None = False,
) -> SpatialData:
    """Simulate an H&E section with known expression at every pixel.

    The image has stroma, glands with lumen, lymphocytes and tumor. Seven programs of expression depend on the visible
    structures; counts are Poisson draws around the true rate over each shape.

    Parameters
    ----------
    seed
        Random seed of the slide and of the counts.
    size_px
        Side of the image in pixels, 256 to 20,000. Above 2048, pixels are computed when they are read.
    mpp
        µm per pixel.
    bins_um
        Sides of the square bins, like Visium HD's 2, 8 and 16 µm.
    bins_rotation_deg
        Rotation of the lattice of bins, as on a real slide.
    pyramid
        Whether the image has several resolution levels.
    progress
        Whether to show progress bars; large slides take minutes.

    Returns
    -------
    SpatialData object with

    - the image ``"he"``, and ``"truth"``, the true programs in counts per µm², with ``"truth_loadings"``:
      ``ps.tl.aggregate(sdata, "cells", raster_key="truth")`` gives the expected counts of any shapes;
    - the shapes ``"spots"`` (55 µm circles, hexagonal pitch of 100 µm), ``"bins_8um"`` and ``"cells"`` (outlines of
      nuclei, in µm, with their ``cell_type``);
    - the tables ``"spots_counts"`` and ``"bins_8um_counts"``;
    - coordinate systems in pixels (``"global"``) and in µm (``"micrometers"``).

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> sorted(sdata.shapes)
    ['bins_8um', 'cells', 'spots']
    """
    if not SIZES_PX[0] <= size_px <= SIZES_PX[1]:
        raise PixnetValueError(f"size_px={size_px} is out of range; use {SIZES_PX[0]} to {SIZES_PX[1]}.")
    slide = Histology(size_px, size_px, mpp, seed)
    check_bins(bins_um, size_px * mpp)
    places = {"spots": hexagonal_spots(slide)}
    for size_um in np.atleast_1d(bins_um):
        places[f"bins_{size_um:g}um"] = square_bins(slide, float(size_um), bins_rotation_deg)
    rates = make_raster(slide, slide.programs, len(slide.program_names), np.float32)
    elements = {**make_rasters(slide, rates, pyramid=pyramid), "cells": cell_outlines(slide)}
    for number, (key, frame) in enumerate(places.items()):
        elements[key] = frame[tissue_share_of(slide, frame) >= LEAST_TISSUE]
        # One random stream per table, so that more bins do not change the counts of others.
        random = np.random.default_rng([seed, number])
        elements[f"{key}_counts"] = measure_counts(slide, rates, key, elements[key], random, progress)
    facts = {"truth": {"kind": "truth", "unit": UNIT, "mpp": mpp}}
    return build.make_section(elements, facts, {"he": mpp})


def check_bins(bins_um: float | tuple[float, ...], side_um: float) -> None:
    least, most = side_um / MOST_BINS, side_um / 4
    if wrong := [size_um for size_um in np.atleast_1d(bins_um).tolist() if not least <= size_um <= most]:
        raise PixnetValueError(
            f"bins_um={wrong[0]:g} is out of range; on a section of {side_um:g} µm, use {least:.3g} to {most:g}."
        )


def pixel_transformations(slide: Histology) -> build.Transformations:
    """Return the transformations of elements in pixels of the image."""
    return build.make_transformations({"global": np.eye(3), "micrometers": np.diag([slide.mpp, slide.mpp, 1.0])})


def micrometer_transformations(slide: Histology) -> build.Transformations:
    return build.make_transformations(
        {"global": np.diag([1 / slide.mpp, 1 / slide.mpp, 1.0]), "micrometers": np.eye(3)}
    )


def make_raster(slide: Histology, evaluate: Callable[[Window], np.ndarray], depth: int, dtype: Any) -> da.Array:
    """Make a raster by windows; it is held in memory if the slide is small."""
    window = slide.window
    if max(window.shape) <= LAZY_FROM_PX:
        return da.from_array(evaluate(window), chunks=(depth, BLOCK_PX, BLOCK_PX))
    sides = da.core.normalize_chunks((BLOCK_PX, BLOCK_PX), window.shape)

    def block(block_info: dict | None = None) -> np.ndarray:
        _, (y0, y1), (x0, x1) = block_info[None]["array-location"]  # type: ignore[index]
        return evaluate(Window(y0, x0, y1, x1))

    return da.map_blocks(block, chunks=((depth,), *sides), dtype=dtype, meta=np.empty((0, 0, 0), dtype))


def make_rasters(slide: Histology, rates: da.Array, *, pyramid: bool) -> dict[str, Any]:
    picture = make_raster(slide, slide.image, 3, np.uint8)
    genes = pd.DataFrame(index=pd.Index(slide.genes))
    loadings = build.make_loadings(slide.loadings, slide.program_names, genes, "truth")
    return {
        "he": build.make_image(
            picture, ["r", "g", "b"], pixel_transformations(slide), pyramid=pyramid, chunks=(3, BLOCK_PX, BLOCK_PX)
        ),
        "truth": build.make_image(
            rates, slide.program_names, pixel_transformations(slide), chunks=(len(rates), BLOCK_PX, BLOCK_PX)
        ),
        loadings_key("truth"): loadings,
    }


def cell_outlines(slide: Histology) -> Any:
    outlines, types = slide.cells()
    outlines_um = shapely.transform(outlines, lambda xy: xy * slide.mpp)
    return build.make_polygons(
        outlines_um, pd.RangeIndex(len(outlines)), micrometer_transformations(slide), cell_type=pd.Categorical(types)
    )


def hexagonal_spots(slide: Histology) -> Any:
    """Make circles in rows shifted by half a pitch; circles cut by the border are left out."""
    radius, pitch = SPOT_DIAMETER_UM / 2, SPOT_PITCH_UM
    row_um = pitch * np.sqrt(3) / 2
    rows, columns = np.indices([int(side * slide.mpp / row_um) + 1 for side in slide.window.shape]).reshape(2, -1)
    x, y = radius + columns * pitch + (rows % 2) * pitch / 2, radius + rows * row_um
    whole = (x + radius <= slide.width_px * slide.mpp) & (y + radius <= slide.height_px * slide.mpp)
    names = pd.Index([f"r{row:03d}c{column:03d}" for row, column in zip(rows[whole], columns[whole], strict=True)])
    return build.make_circles(
        np.column_stack([x, y])[whole] / slide.mpp, radius / slide.mpp, names, pixel_transformations(slide)
    )


def square_bins(slide: Histology, size_um: float, rotation_deg: float) -> Any:
    """Make a lattice of squares around the center of the slide; squares cut by the border are left out."""
    size_px = size_um / slide.mpp
    reach = int(np.hypot(*slide.window.shape) / 2 / size_px) + 1
    rows, columns = np.indices((2 * reach, 2 * reach)).reshape(2, -1) - reach
    corners = np.stack([[columns, rows], [columns + 1, rows], [columns + 1, rows + 1], [columns, rows + 1]])
    angle = np.deg2rad(rotation_deg)
    turn = size_px * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([slide.width_px, slide.height_px]) / 2
    xy = np.einsum("ab,kbn->nka", turn, corners) + middle
    # Rotation moves corners on the border by rounding errors.
    slack = 1e-9 * slide.width_px
    whole = ((xy >= -slack) & (xy <= np.array([slide.width_px, slide.height_px]) + slack)).all(axis=(1, 2))
    return build.make_polygons(
        shapely.polygons(xy[whole]),
        pd.RangeIndex(int(whole.sum())),
        pixel_transformations(slide),
        array_row=rows[whole],
        array_col=columns[whole],
    )


def tissue_share_of(slide: Histology, frame: Any) -> np.ndarray:
    mask = make_raster(slide, lambda window: slide.tissue(window)[None].astype(np.uint8), 1, np.uint8)
    return aggregate(mask, placement.to_pixel_shapes(frame, np.eye(3)), "mean").values[:, 0]


def measure_counts(
    slide: Histology, rates: da.Array, key: str, frame: Any, random: np.random.Generator, progress: bool | None
) -> Any:
    """Draw counts from a Poisson distribution around the integral of the true rate over each shape."""
    shapes = placement.to_pixel_shapes(frame, np.eye(3))
    expected = aggregate(rates, shapes, "sum", progress=progress).values * slide.mpp**2 @ slide.loadings
    counts = sp.csr_matrix(random.poisson(expected).astype(np.int32))
    genes = pd.DataFrame(index=pd.Index(slide.genes))
    return build.make_table(counts, genes, key, frame.index, spatial=shapes.centroid * slide.mpp)
