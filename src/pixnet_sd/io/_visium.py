"""Reader of Visium: spots of 55 µm on a hexagonal array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._raster import lattice
from pixnet_sd.io import _assemble, _scan, _vendor

COUNTS = "*filtered_feature_bc_matrix.h5"
SPOT_DIAMETER_UM = 55.0
"""Diameter of the printed spot. The scale factors hold one of 65 µm, which is meant for plots."""


def visium(path: str | Path, *, image: str | Path | None = None, mpp: float | None = None) -> SpatialData:
    """Read the output folder of Space Ranger for a Visium section, with counts of spots under tissue.

    Parameters
    ----------
    path
        Folder with ``filtered_feature_bc_matrix.h5`` and ``spatial/``.
    image
        Microscope image that was passed to Space Ranger. Default: ``spatial/tissue_hires_image.png``, whose pixels of
        several µm are too coarse for most models.
    mpp
        µm per pixel of that image. Default: from the spots, which are 100 µm apart. Warns if both
        differ by more than 5 %.

    Returns
    -------
    Object with the image ``"he"``, the circles ``"spots"`` (55 µm) and the table ``"spots_counts"``; coordinate
    systems in pixels of the microscope image (``"global"``) and in µm (``"micrometers"``).

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.io.visium("outs", image="section.tif")  # doctest: +SKIP
    """
    folder = _vendor.folder_of(path, COUNTS, "a folder of Space Ranger")
    counts, centers = read_visium_spots(folder)
    fit = lattice.fit_lattice(counts.obs["array_col"].to_numpy(), counts.obs["array_row"].to_numpy(), centers, "spots")
    scan, to_global = read_visium_image(folder / "spatial", image)
    scale = to_global[0, 0]
    known = {"the spots' pitch of 100 µm": fit.mpp(lattice.VISIUM_STEP_UM) * scale, **scan.stated_mpp}
    frame = _assemble.GlobalFrame(to_global, _assemble.choose_mpp(_assemble.IMAGE, mpp, known) / scale)
    spots = _assemble.ReadShapes("spots", shapely.points(centers), counts, radius=SPOT_DIAMETER_UM / 2 / frame.um)
    return _assemble.assemble_section(scan, frame, [spots])


def read_visium_spots(folder: Path) -> tuple[AnnData, np.ndarray]:
    """Read the counts, and the centers of their spots in pixels of the microscope image."""
    counts_file = _vendor.single_file(sorted(folder.glob(COUNTS)), "the counts", "path")
    assert counts_file is not None
    # spatialdata-io derives an id from the prefix of the file; a file without a prefix needs one.
    prefixed = counts_file.name != COUNTS[1:]
    readers = _vendor.import_readers()
    with _vendor.named_folder_errors(folder, "a folder of Space Ranger"):
        found = readers.visium(folder, dataset_id=None if prefixed else "visium")
        (shapes,), (table,) = found.shapes.values(), found.tables.values()
    table.obs = table.obs.drop(columns="spot_id")
    return table, shapely.get_coordinates(shapes.geometry.to_numpy())


def read_visium_image(spatial: Path, image: str | Path | None) -> tuple[_scan.Scan, np.ndarray]:
    """Read an image, and the matrix from its pixels to those of the microscope image."""
    if image is not None:
        return _scan.read_scan(image), np.eye(3)
    scale = 1 / _vendor.read_json(spatial / "scalefactors_json.json")["tissue_hires_scalef"]
    return _scan.read_scan(spatial / "tissue_hires_image.png"), np.diag([scale, scale, 1.0])
