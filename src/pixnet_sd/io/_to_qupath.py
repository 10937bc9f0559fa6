"""Export shapes with measurements as GeoJSON for QuPath."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._keys import check_known, expression_key
from pixnet_sd._sdata import affine, counts, elements
from pixnet_sd._sdata.shapes import are_circles
from pixnet_sd._settings import logger
from pixnet_sd.io._exports import dense_rows, rows_of_shapes, whole_target

MOST_GENES = 100
"""Measurements of each object without a choice of genes; QuPath keeps all of them in memory."""
ARC_SEGMENTS = 16
"""Segments of a quarter of a circle, whose area is then too small by 0.2 %."""


def to_qupath(
    sdata: SpatialData,
    shapes_key: str,
    path: str | Path,
    *,
    image_key: str | None = None,
    table_key: str | None = None,
    genes: Sequence[str] | None = None,
    column: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write shapes as GeoJSON detections of QuPath, with expression as measurements.

    Coordinates are pixels of the image's finest level, as QuPath has them with the same file open. Drag the file onto
    the image there.

    Parameters
    ----------
    sdata
        SpatialData object with image and shapes.
    shapes_key
        Key of the shapes. Circles become polygons.
    path
        New file, ``.geojson``.
    image_key
        Key of the image that is open in QuPath. Optional if the object has exactly one.
    table_key
        Key of the table with measurements. Default: ``"{shapes}_expression"``, if there is one.
    genes
        Genes to write. Default: all, if they are at most 100. Numbers in ``obs`` are written as well.
    column
        Column of ``obs`` or of the shapes with classes, e.g. ``"leiden"``.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    PixnetValueError
        If there are too many genes to write without a choice, or shapes and image share no coordinate system.

    See Also
    --------
    pixnet_sd.io.outlines : Read outlines of QuPath.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.io.to_qupath(sdata, "cells", "cells.geojson")
    >>> len(ps.io.outlines("cells.geojson", unit="px")) == len(sdata["cells"])
    True
    """
    image, shapes = elements.find_image_key(sdata, image_key), elements.find_shapes_key(sdata, shapes_key)
    polygons = polygons_in_pixels(sdata, shapes, image)
    values = read_measurements(sdata, shapes, find_measurements(sdata, shapes, table_key), genes)
    classes = read_classes(sdata, shapes, find_measurements(sdata, shapes, table_key), column)
    with whole_target(path, (".geojson", ".json"), overwrite=overwrite) as partial, partial.open("w") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, feature in enumerate(make_features(polygons, sdata.shapes[shapes].index, values, classes)):
            file.write((",\n" if number else "\n") + feature)
        file.write("\n]}\n")
    logger.info("wrote %s shapes with %d measurements to %s", f"{len(polygons):,}", values.shape[1], path)


def find_measurements(sdata: SpatialData, shapes_key: str, asked: str | None) -> str | None:
    if asked is not None:
        return elements.find_table_key(sdata, asked)
    return expression_key(shapes_key) if expression_key(shapes_key) in sdata.tables else None


def polygons_in_pixels(sdata: SpatialData, shapes_key: str, image_key: str) -> np.ndarray:
    frame, to_image = sdata.shapes[shapes_key], affine.matrix_between(sdata, shapes_key, image_key)
    geometries = frame.geometry.to_numpy()
    if are_circles(frame):
        geometries = shapely.buffer(geometries, frame["radius"].to_numpy(float), quad_segs=ARC_SEGMENTS)
    moved: np.ndarray = shapely.transform(geometries, lambda xy: xy @ to_image[:2, :2].T + to_image[:2, 2])
    return moved


def read_measurements(
    sdata: SpatialData, shapes_key: str, table_key: str | None, genes: Sequence[str] | None
) -> pd.DataFrame:
    """Read (shapes, measurements): genes and the numbers of ``obs``; NaN where a shape has no row."""
    frame = sdata.shapes[shapes_key]
    if table_key is None:
        if genes is not None:
            raise PixnetKeyError(
                f"There is no table {expression_key(shapes_key)!r} with genes of the shapes. Run tl.aggregate, or pass "
                "table_key=..."
            )
        return pd.DataFrame(index=frame.index)
    table, rows = rows_of_shapes(sdata, table_key, shapes_key)
    chosen = counts.asked_genes(genes)
    if chosen is None and table.n_vars > MOST_GENES:
        raise PixnetValueError(
            f"Table {table_key!r} has {table.n_vars:,} genes; at most {MOST_GENES} are written without a choice. Pass "
            "genes=[...]."
        )
    columns = counts.gene_columns(table.var_names, chosen, f"table {table_key!r}")
    # The table's own link to its shapes is no measurement.
    numbers = table.obs.select_dtypes("number").drop(columns="instance_id", errors="ignore")
    values = np.column_stack([dense_rows(table[:, columns].X), numbers.to_numpy(float)])
    found = np.full((len(frame), values.shape[1]), np.nan)
    found[rows] = values
    return pd.DataFrame(found, index=frame.index, columns=[*table.var_names[columns], *numbers])


def read_classes(sdata: SpatialData, shapes_key: str, table_key: str | None, column: str | None) -> list[str | None]:
    """Read the class of each shape, from the table or the shapes."""
    frame = sdata.shapes[shapes_key]
    found: list[str | None] = [None] * len(frame)
    if column is None:
        return found
    if table_key is not None and column in sdata.tables[table_key].obs:
        table, rows = rows_of_shapes(sdata, table_key, shapes_key)
        for row, value in zip(rows, table.obs[column], strict=True):
            found[row] = None if pd.isna(value) else str(value)
        return found
    check_known([column], frame.columns, f"obs of the table or the columns of {shapes_key!r}")
    return [None if pd.isna(value) else str(value) for value in frame[column]]


def make_features(
    polygons: np.ndarray, index: pd.Index, values: pd.DataFrame, classes: Sequence[str | None]
) -> Iterator[str]:
    """Yield one GeoJSON feature after the other as text; empty shapes are left out."""
    names = list(map(str, values.columns))
    for polygon, label, row, named in zip(polygons, index.tolist(), values.to_numpy(), classes, strict=True):
        if polygon is None or polygon.is_empty:
            continue
        measured = {name: float(value) for name, value in zip(names, row, strict=True) if np.isfinite(value)}
        properties: dict[str, Any] = {"objectType": "detection", "label": label, "measurements": measured}
        if named is not None:
            properties["classification"] = {"name": named}
        # QuPath takes UUIDs only; from the label, so that the same shapes give the same file.
        number = uuid.uuid5(uuid.NAMESPACE_OID, str(label))
        head = json.dumps({"type": "Feature", "id": str(number), "properties": properties})
        yield f'{head[:-1]}, "geometry": {shapely.to_geojson(polygon)}}}'
