"""Small sections whose every number is known, and a model small enough to predict them in a tenth of a second."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import shapely
import tiny
from spatialdata import SpatialData
from spatialdata.transformations import BaseTransformation, Identity

import pixnet_sd as ps
from pixnet_sd._sdata import build
from pixnet_sd.nn.model.model import Model

GLOBAL: dict[str, BaseTransformation] = {"global": Identity()}
GENES = ["EPCAM", "VIM", "CD3E"]
SQUARES = (shapely.box(1, 1, 9, 9), shapely.box(10, 10, 20.5, 20))
COUNTS = np.array([[5, 0, 1], [2, 7, 0]])


def tiny_model(seed: int = 0, **changes: Any) -> Model:
    return tiny.model(GENES, seed, **{"widths": (4, 4, 4, 4), "programs": 2, **changes})


def pixels(height: int = 48, width: int = 64, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (channels, height, width)).astype(dtype)


def picture(data: np.ndarray | None = None, names: Sequence[str] = "rgb", **options: Any) -> Any:
    return build.make_image(
        pixels() if data is None else data, list(names), dict(options.pop("systems", GLOBAL)), **options
    )


def squares(geometries: Sequence[Any] = SQUARES, ids: Sequence[Any] | None = None, **options: Any) -> Any:
    index = pd.Index(range(len(geometries)) if ids is None else ids)
    return build.make_polygons(np.array(geometries, dtype=object), index, dict(options.pop("systems", GLOBAL)))


def discs(
    radius: Sequence[float],
    centers: Any = ((5.0, 5.0), (20.0, 20.0)),
    systems: Mapping[str, BaseTransformation] = GLOBAL,
) -> Any:
    """Circles whose radii are put in afterwards: parsing refuses some of what files hold."""
    frame = build.make_circles(np.array(centers), 3.0, pd.RangeIndex(len(centers)), dict(systems))
    frame["radius"] = radius
    return frame


def section(mpp: float | None = 0.5, **elements: Any) -> SpatialData:
    """The elements, with the picture "he" unless another is given."""
    elements = {"he": picture(), **elements}
    held = {key: element for key, element in elements.items() if element is not None}
    return build.make_section(held, {}, {} if mpp is None or "he" not in held else {"he": mpp})


def measured(values: Any = COUNTS, ids: Sequence[Any] = (0, 1), genes: Sequence[str] = GENES) -> SpatialData:
    """Two squares with their counts; the ids are put in afterwards."""
    shapes = squares()
    table = build.make_table(values, pd.DataFrame(index=list(genes)), "cells", shapes.index)
    table.obs["instance_id"] = list(ids)
    return section(cells=shapes, counts=table)


def predict(sdata: SpatialData, image_key: str | None = None, **options: Any) -> Any:
    return ps.tl.predict(
        sdata, image_key, **{"model": tiny_model(), "device": "cpu", "tile_size": 64, "progress": False, **options}
    )


def aggregate(sdata: SpatialData, shapes_key: str | None = None, **options: Any) -> Any:
    """Of the picture where there is nothing else, which a user has to name."""
    if isinstance(sdata, SpatialData) and list(sdata.images) == ["he"]:
        options = {"raster_key": "he", **options}
    return ps.tl.aggregate(sdata, shapes_key, **{"inplace": False, "progress": False, **options})


def train(sdata: SpatialData, **options: Any) -> Any:
    return ps.tl.train(sdata, **{"table_key": "counts", "progress": False, **options})
