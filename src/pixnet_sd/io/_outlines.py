"""Outlines of nuclei or cells that another program has found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry import shape

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import build
from pixnet_sd._settings import logger

LARGEST_BYTES = 2 * 1024**3
"""JSON takes about ten times its size in memory."""
ID_PROPERTIES = ("cell_id", "id", "label")
"""Where programs put a feature's id that do not use GeoJSON's own place for it."""
VERTEX_COLUMNS = ("cell_id", "vertex_x", "vertex_y")
"""Of Xenium's tables of boundaries, one row for each vertex."""
POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True, eq=False)
class Outlines:
    """What a file holds."""

    polygons: np.ndarray
    ids: Sequence[Any]
    """None where the file gives none."""
    classes: Sequence[str | None]


def outlines(path: str | Path, *, unit: Literal["px", "um"], mpp: float | None = None) -> gpd.GeoDataFrame:
    """Read outlines of nuclei or cells, as a shapes element over the image that they were found on.

    GeoJSON of QuPath, LazySlide and Xenium Ranger (also of StarDist, InstanSeg and Cellpose within QuPath), Cellpose's
    ``*_cp_outlines.txt``, and Xenium's ``cell_boundaries`` or ``nucleus_boundaries`` (``.csv``, ``.csv.gz``,
    ``.parquet``). Ids of the file become the index where all are there and differ; otherwise outlines are numbered.

    Parameters
    ----------
    path
        The file.
    unit
        Unit of its coordinates: ``"px"``, pixels of the image's finest level, or ``"um"``. No file says which. QuPath,
        LazySlide and Cellpose write pixels, Xenium's tables µm, and Xenium Ranger reads either.
    mpp
        µm per pixel of the image. Needed for ``unit="um"``; with pixels, it adds the coordinate system in µm.

    Returns
    -------
    A shapes element of polygons with the coordinate systems ``"global"``, in pixels, and ``"micrometers"`` where `mpp`
    is given. Where the file names classes, they are in the column ``class``.

    Raises
    ------
    PixnetValueError
        If the file is of another kind, holds anything but polygons, or lacks `mpp` where that is needed.

    See Also
    --------
    pixnet_sd.pp.nuclei : Find nuclei without another program.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata["cells"] = ps.io.outlines("cells.geojson", unit="px")  # doctest: +SKIP
    """
    systems = place_outlines(unit, mpp)
    found = read_outlines(Path(path))
    if not len(found.polygons):
        raise PixnetValueError(f"{path} holds no outlines, and an element cannot be empty.")
    index = index_by_id(found.ids)
    columns = {"class": np.array(found.classes, object)} if any(found.classes) else {}
    logger.info("read %s outlines from %s", f"{len(index):,}", Path(path).name)
    return build.make_polygons(repair_polygons(found.polygons), index, systems, **columns)


def place_outlines(unit: str, mpp: float | None) -> build.Transformations:
    """Make transformations for coordinates in a stated unit."""
    if unit not in ("px", "um"):
        raise PixnetValueError(f'unit must be "px" or "um"; got {unit!r}.')
    if mpp is None and unit == "um":
        raise PixnetValueError('Coordinates in µm need the µm per pixel of the image: pass mpp=..., or unit="px".')
    if mpp is not None and not 0 < mpp < np.inf:
        raise PixnetValueError(f"mpp must be positive and finite; got {mpp}.")
    to_px = 1.0 if unit == "px" else 1 / (mpp or 1.0)
    systems = {"global": np.diag([to_px, to_px, 1.0])}
    if mpp is not None:
        to_um = mpp if unit == "px" else 1.0
        systems["micrometers"] = np.diag([to_um, to_um, 1.0])
    return build.make_transformations(systems)


def read_outlines(path: Path) -> Outlines:
    if not path.is_file():
        raise PixnetValueError(f"{path} is not a file.")
    ending = next((ending for ending in READERS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise PixnetValueError(f"{path} is of no known kind; outlines are read from {', '.join(READERS)}.")
    if path.stat().st_size > LARGEST_BYTES:
        raise PixnetValueError(
            f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST_BYTES:,} are read at once. Split the file."
        )
    return READERS[ending](path)


def read_geojson(path: Path) -> Outlines:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # also of bytes that are no UTF-8
        raise PixnetValueError(f"{path} is no JSON: {error}.") from error
    features = list_features(content, path)
    polygons = [to_polygon(feature.get("geometry"), f"Feature {n} of {path}") for n, feature in enumerate(features)]
    return Outlines(np.array(polygons, object), [id_of(one) for one in features], [class_of(one) for one in features])


def list_features(content: Any, path: Path) -> list[dict[str, Any]]:
    """Return the features of a collection, of a bare list (older QuPath), or the only one."""
    if isinstance(content, dict):
        content = content.get("features", [content])
    if not isinstance(content, list) or not all(isinstance(one, dict) and "geometry" in one for one in content):
        raise PixnetValueError(f"{path} is no GeoJSON of features, each with a geometry.")
    return content


def to_polygon(geometry: Any, where: str) -> Any:
    try:
        found = shape(geometry)
    except Exception as error:  # shapely raises whatever its parts do
        raise PixnetValueError(f"{where} has no geometry that can be read ({error}).") from error
    if shapely.get_type_id(found) not in POLYGONAL or not np.isfinite(shapely.get_coordinates(found)).all():
        raise PixnetValueError(
            f"{where} is a {found.geom_type} with the bounds {found.bounds}; outlines are polygons with finite "
            "corners. Export only detections or cells."
        )
    return found


def id_of(feature: dict[str, Any]) -> Any:
    properties = feature.get("properties") or {}
    named = [properties[name] for name in ID_PROPERTIES if properties.get(name) is not None]
    return next(iter(named), feature.get("id"))


def class_of(feature: dict[str, Any]) -> str | None:
    """Return the name of its class. QuPath and LazySlide nest it; some writers of GeoJSON make it text."""
    found = (feature.get("properties") or {}).get("classification")
    named = found.get("name") if isinstance(found, dict) else found
    return None if named is None else str(named)


def read_cellpose(path: Path) -> Outlines:
    """Read lines of x, y, x, y, ... in pixels."""
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        rows = [np.array(line.split(","), float).reshape(-1, 2) for line in lines]
        polygons = [shapely.Polygon(row) for row in rows]
    except ValueError as error:
        raise PixnetValueError(f"{path} is none of Cellpose's outlines, x,y,x,y,... a line ({error}).") from error
    return Outlines(np.array(polygons, object), [None] * len(polygons), [None] * len(polygons))


def read_vertices(path: Path) -> Outlines:
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    missing = [name for name in VERTEX_COLUMNS if name not in table]
    if missing:
        raise PixnetValueError(f"{path} lacks the columns {missing}; it has {list(table.columns)}.")
    groups = list(table.groupby("cell_id", sort=False))
    where = f"cell {{}} of {path}"
    polygons = [
        to_polygon({"type": "Polygon", "coordinates": [part[["vertex_x", "vertex_y"]].to_numpy()]}, where.format(cell))
        for cell, part in groups
    ]
    return Outlines(np.array(polygons, object), [cell for cell, _ in groups], [None] * len(groups))


READERS: dict[str, Callable[[Path], Outlines]] = {
    ".geojson": read_geojson,
    ".json": read_geojson,
    ".txt": read_cellpose,
    ".csv": read_vertices,
    ".csv.gz": read_vertices,
    ".parquet": read_vertices,
}
"""By how a file's name ends."""


def index_by_id(ids: Sequence[Any]) -> pd.Index:
    """Make an index of ids where all are there, of one kind and different; otherwise number them."""
    kinds = {type(one) for one in ids}
    if len(kinds) == 1 and kinds <= {int, str, np.int64} and len(set(ids)) == len(ids):
        return pd.Index(list(ids))
    if any(one is not None for one in ids):
        logger.info("the file's ids are missing in places, repeated or of mixed kinds, so outlines are numbered")
    return pd.RangeIndex(len(ids))


def repair_polygons(polygons: np.ndarray) -> np.ndarray:
    """Return polygons as they are where valid, and make the others so; what has no area becomes empty."""
    broken = ~shapely.is_valid(polygons)
    if not broken.any():
        return polygons
    logger.info("repaired %s outlines that cross themselves", f"{broken.sum():,}")
    repaired = polygons.copy()
    repaired[broken] = [keep_areas(shapely.make_valid(one)) for one in polygons[broken]]
    return repaired


def keep_areas(geometry: Any) -> Any:
    areas = [part for part in shapely.get_parts(geometry) if shapely.get_type_id(part) in POLYGONAL]
    return shapely.union_all(areas) if areas else shapely.Polygon()
