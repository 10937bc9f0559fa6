"""Make SpatialData elements from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anndata as ad
import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from spatialdata import SpatialData
from spatialdata.models import Image2DModel, Labels2DModel, ShapesModel, TableModel
from spatialdata.transformations import Affine, BaseTransformation, Identity, set_transformation

from pixnet_sd._keys import loadings_key
from pixnet_sd._sdata import build
from pixnet_sd._sdata.affine import AXES
from pixnet_sd._sdata.provenance import describe_loadings, get_record, set_mpp_record, set_record
from pixnet_sd._sdata.shapes import instance_ids

Transformations = dict[str, BaseTransformation]
COARSEST_PX = 512


def make_transformations(matrices: Mapping[str, np.ndarray]) -> Transformations:
    """Make transformations from 3 x 3 matrices on (x, y, 1), for each coordinate system."""
    return {
        name: Identity() if np.array_equal(matrix, np.eye(3)) else Affine(matrix, input_axes=AXES, output_axes=AXES)
        for name, matrix in matrices.items()
    }


def make_image(
    data: np.ndarray | da.Array,
    channels: Sequence[str],
    transformations: Transformations,
    *,
    pyramid: bool = False,
    chunks: tuple[int, int, int] = (16, 256, 256),
) -> Any:
    """Make an image element (c, y, x), with coarser levels down to about 512 px on request."""
    return Image2DModel.parse(
        data,
        dims=("c", "y", "x"),
        c_coords=list(channels),
        transformations=transformations,
        scale_factors=pyramid_factors(data.shape[-2:]) if pyramid else None,
        chunks=chunks,
    )


def pyramid_factors(shape: tuple[int, ...]) -> list[int] | None:
    levels = max(0, int(np.ceil(np.log2(max(max(shape) / COARSEST_PX, 1)))))
    return [2] * levels or None


def make_labels(data: np.ndarray, transformations: Transformations) -> Any:
    return Labels2DModel.parse(data, dims=("y", "x"), transformations=transformations)


def make_circles(centers_xy: np.ndarray, radius: float, index: pd.Index, transformations: Transformations) -> Any:
    frame = gpd.GeoDataFrame({"radius": np.full(len(index), float(radius))}, geometry=shapely.points(centers_xy))
    return ShapesModel.parse(frame.set_index(index), transformations=transformations)


def make_polygons(
    geometries: np.ndarray, index: pd.Index, transformations: Transformations, **columns: np.ndarray
) -> Any:
    frame = gpd.GeoDataFrame(columns, geometry=geometries)
    return ShapesModel.parse(frame.set_index(index), transformations=transformations)


def make_table(
    values: Any,
    genes: pd.DataFrame,
    shapes_key: str,
    instances: pd.Index,
    *,
    obs: Mapping[str, np.ndarray] | None = None,
    spatial: np.ndarray | None = None,
) -> ad.AnnData:
    """Make a table of shapes x genes that annotates a shapes element, one row for each of `instances`."""
    rows = pd.DataFrame({"instance_id": instance_ids(instances), **(obs or {})}, index=instances.astype(str))
    rows.index.name = None
    rows.insert(0, "region", pd.Categorical([shapes_key] * len(rows), categories=[shapes_key]))
    adata = ad.AnnData(values, obs=rows, var=genes)
    if spatial is not None:
        adata.obsm["spatial"] = spatial
    return TableModel.parse(adata, region=shapes_key, region_key="region", instance_key="instance_id")


def make_loadings(matrix: np.ndarray, programs: Sequence[str], genes: pd.DataFrame, image_key: str) -> ad.AnnData:
    """Make the table (programs x genes) beside a factorised map.

    It annotates the channels of the map, because SpatialData's queries fail on tables that annotate nothing.
    """
    numbers = pd.RangeIndex(len(programs))
    annotating = make_table(np.asarray(matrix, np.float32), genes, image_key, numbers)
    annotating.obs_names = list(programs)
    return annotating


def make_section(
    elements: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]], mpp: Mapping[str, float]
) -> SpatialData:
    """Make a SpatialData object from elements, records of derived ones, and µm/px of its images."""
    sdata = SpatialData.init_from_elements(dict(elements))
    for key, known in facts.items():
        set_record(sdata, key, dict(known))
        if (table := loadings_key(key)) in sdata.tables:
            describe_loadings(sdata.tables[table], get_record(sdata, key) or {})
    for key, value in mpp.items():
        set_mpp_record(sdata, key, value)
    return sdata


def from_levels(levels: Sequence[da.Array], channels: Sequence[str], transformations: build.Transformations) -> Any:
    """Make an image element from (c, y, x) of each level, finest first; a single level gets coarser means."""
    finest = levels[0]
    if len(levels) == 1:
        return build.make_image(finest, channels, transformations, pyramid=True, chunks=chunks_of(finest))
    nodes = {f"scale{k}": level_node(level, channels, finest.shape) for k, level in enumerate(levels)}
    element = xr.DataTree.from_dict(nodes)
    set_transformation(element, transformations, set_all=True)
    return element


def level_node(level: da.Array, channels: Sequence[str], finest: tuple[int, ...]) -> xr.Dataset:
    """Make one level, with pixel centers in pixels of the finest."""
    pixels = build.make_image(level, channels, {}, chunks=chunks_of(level))
    centers = {
        axis: (np.arange(n) + 0.5) * (of / n) for axis, n, of in zip("yx", level.shape[1:], finest[1:], strict=True)
    }
    return xr.Dataset({"image": pixels.assign_coords(centers)})


def chunks_of(level: da.Array) -> tuple[int, int, int]:
    c, y, x = (int(side) for side in level.chunksize)
    return c, y, x
