"""Assemble one object: image, shapes and tables in pixels ("global") and in µm ("micrometers")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import shapely
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._sdata import affine, build, units
from pixnet_sd._sdata.build import from_levels
from pixnet_sd._settings import logger
from pixnet_sd.io._scan import Scan

IMAGE = "he"
SPATIAL = ("region", "instance_id", "spatial")


@dataclass(frozen=True, eq=False)
class GlobalFrame:
    """Relation of the image and of µm to the coordinate system "global"."""

    image: np.ndarray = field(default_factory=lambda: np.eye(3))
    """3 x 3 matrix on (x, y, 1) from pixels of the image to "global"."""
    um: float = 1.0
    """µm of one unit of "global"."""

    def systems(self, to_global: np.ndarray) -> build.Transformations:
        """Return the transformations of an element with the given matrix to "global"."""
        return build.make_transformations(
            {"global": to_global, "micrometers": np.diag([self.um, self.um, 1.0]) @ to_global}
        )

    @property
    def image_mpp(self) -> float:
        return self.um * affine.area_scale(self.image)


@dataclass(frozen=True, eq=False)
class ReadShapes:
    """Shapes with their counts."""

    name: str
    """Key of the shapes element; that of the table is "{name}_counts"."""
    geometries: np.ndarray
    """Points or polygons."""
    counts: AnnData
    """One row per geometry, in the same order; its names are the ids of the shapes."""
    radius: float | None = None
    """Radius of circles around points."""
    to_global: np.ndarray = field(default_factory=lambda: np.eye(3))
    """3 x 3 matrix on (x, y, 1) from the coordinates of the geometries."""

    @property
    def ids(self) -> pd.Index:
        return pd.Index(self.counts.obs_names.astype(object))

    @property
    def centers(self) -> np.ndarray:
        """Return the centers (n, 2) in "global"."""
        xy = shapely.get_coordinates(shapely.centroid(self.geometries))
        return xy @ self.to_global[:2, :2].T + self.to_global[:2, 2]


def choose_mpp(image_key: str, asked: float | None, known: dict[str, float]) -> float:
    """Return the argument or the first known value; warn if they differ by more than 5 %."""
    given = {} if asked is None else {"the argument mpp": float(asked)}
    stated = {**given, **known}
    source, value = next(iter(stated.items()))
    units.check_mpp(image_key, source, value)
    units.warn_about_differences(image_key, stated)
    return value


def assemble_section(
    scan: Scan, frame: GlobalFrame, measured: Sequence[ReadShapes] = (), image_key: str = IMAGE
) -> SpatialData:
    """Build the object and record µm per pixel of its image."""
    elements: dict[str, Any] = {image_key: from_levels(scan.levels, scan.channels, frame.systems(frame.image))}
    for one in measured:
        warn_if_elsewhere(one, scan, frame)
        elements[one.name] = shapes_of(one, frame)
        elements[f"{one.name}_counts"] = table_of(one, frame)
    height, width = scan.shape
    found = "".join(f", {len(one.counts):,} {one.name}" for one in measured)
    logger.info("%s: %d x %d px of %.4g µm%s", scan.path.name, height, width, frame.image_mpp, found)
    return build.make_section(elements, {}, {image_key: frame.image_mpp})


def shapes_of(one: ReadShapes, frame: GlobalFrame) -> Any:
    systems = frame.systems(one.to_global)
    if one.radius is None:
        return build.make_polygons(one.geometries, one.ids, systems)
    return build.make_circles(shapely.get_coordinates(one.geometries), one.radius, one.ids, systems)


def table_of(one: ReadShapes, frame: GlobalFrame) -> AnnData:
    """Make a table of the counts, with the annotations of genes and shapes, layers and embeddings."""
    annotations = {name: column.to_numpy() for name, column in one.counts.obs.items() if name not in SPATIAL}
    table = build.make_table(
        one.counts.X, one.counts.var.copy(), one.name, one.ids, obs=annotations, spatial=one.centers * frame.um
    )
    table.layers.update({name: values for name, values in one.counts.layers.items() if name is not None})
    table.obsm.update({name: values for name, values in one.counts.obsm.items() if name not in SPATIAL})
    return table


def warn_if_elsewhere(one: ReadShapes, scan: Scan, frame: GlobalFrame) -> None:
    """Warn if most shapes are outside the image, as if they were aligned to another one; raise if all are."""
    inverse = np.linalg.inv(frame.image)
    x, y = (one.centers @ inverse[:2, :2].T + inverse[:2, 2]).T
    height, width = scan.shape
    share = float(((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).mean())
    message = (
        f"{share:.0%} of the {len(one.counts):,} {one.name} lie on {scan.path.name} ({height} x {width} px). "
        "Is it the image that they were aligned to?"
    )
    if share == 0:
        raise PixnetValueError(message)
    if share < 0.5:
        warn(message)
