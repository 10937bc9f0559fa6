"""Reader of Xenium: outlines and counts of cells, and an H&E image that is aligned to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._settings import logger
from pixnet_sd.io import _assemble, _scan, _vendor

SPECS = "experiment.xenium"
KIND = "a Xenium folder"
IMAGE_ENDING = "he_image.ome.tif"


def xenium(
    path: str | Path, *, image: str | Path | None = None, alignment: str | Path | np.ndarray | None = None
) -> SpatialData:
    """Read a Xenium folder with the H&E image of the same section.

    Transcripts, morphology images and nuclei are not read; ``spatialdata_io.xenium`` reads them into the same
    coordinate system ``"global"``.

    Parameters
    ----------
    path
        Folder with ``experiment.xenium``.
    image
        H&E image. Default: the file in the folder that ends in ``he_image.ome.tif``.
    alignment
        3 x 3 matrix from pixels of the H&E image to pixels of the morphology image, as an array or as a CSV file
        exported by Xenium Explorer. Default: the file named like the image with ``alignment.csv`` in place of
        ``.ome.tif``. An identity is never assumed.

    Returns
    -------
    Object with the image ``"he"``, the polygons ``"cells"`` and the table ``"cells_counts"``; coordinate systems in
    pixels of the morphology image (``"global"``) and in µm (``"micrometers"``). µm per pixel of the image follow from
    the alignment; warns if the metadata of the image differ by more than 5 %.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.io.xenium("output-XETG00000", image="he.ome.tif", alignment="matrix.csv")  # doctest: +SKIP
    """
    folder = _vendor.folder_of(path, SPECS, KIND)
    pixel_um = float(_vendor.read_json(folder / SPECS)["pixel_size"])
    he = Path(image) if image is not None else find_he_image(folder)
    frame = _assemble.GlobalFrame(read_alignment(he, alignment), pixel_um)
    cells = read_cells(folder, pixel_um)
    scan = _scan.read_scan(he)
    # Called for its warning: µm per pixel follow from the alignment.
    _assemble.choose_mpp(_assemble.IMAGE, None, {"its alignment": frame.image_mpp, **scan.stated_mpp})
    return _assemble.assemble_section(scan.in_color(), frame, [cells])


def find_he_image(folder: Path) -> Path:
    found = _vendor.single_file(sorted(folder.glob(f"*{IMAGE_ENDING}")), "the H&E image", "image")
    if found is None:
        raise PixnetValueError(f"{folder} has no file that ends in {IMAGE_ENDING}. Pass image=... and alignment=...")
    return found


def read_alignment(image: Path, given: str | Path | np.ndarray | None) -> np.ndarray:
    """Read the 3 x 3 matrix from pixels of the H&E image to pixels of the morphology image."""
    if isinstance(given, np.ndarray):
        return check_alignment_matrix(given, "the array given")
    file = Path(given) if given is not None else image.with_name(f"{image.name.removesuffix('.ome.tif')}alignment.csv")
    if not file.is_file():
        raise PixnetValueError(
            f"There is no alignment of {image.name} at {file}. Pass alignment=..., the matrix that Xenium Explorer "
            "exports; if the pixels are those of the morphology image, pass numpy.eye(3)."
        )
    return check_alignment_matrix(read_numbers(file), str(file))


def read_numbers(file: Path) -> np.ndarray:
    try:
        return pd.read_csv(file, header=None).to_numpy(dtype=float)
    except ValueError as error:
        raise PixnetValueError(
            f"{file} does not hold 3 x 3 numbers: {error}. Export the matrix, not the points that were clicked."
        ) from error


def check_alignment_matrix(matrix: np.ndarray, source: str) -> np.ndarray:
    regular = matrix.shape == (3, 3) and np.isfinite(matrix).all() and np.allclose(matrix[2], [0, 0, 1])
    if not regular or abs(np.linalg.det(matrix)) < 1e-12:
        raise PixnetValueError(
            f"The alignment in {source} should be a regular 3 x 3 matrix whose last row is 0, 0, 1; "
            f"got {matrix.tolist()}. Export it again from Xenium Explorer."
        )
    return matrix.astype(float)


def read_cells(folder: Path, pixel_um: float) -> _assemble.ReadShapes:
    """Read outlines in µm and counts of the cells that have both."""
    skipped: dict[str, Any] = dict.fromkeys(
        ("nucleus_boundaries", "cells_labels", "nucleus_labels", "transcripts", "morphology_mip"), False
    )
    readers = _vendor.import_readers()
    with _vendor.named_folder_errors(folder, KIND):
        found = readers.xenium(folder, morphology_focus=False, aligned_images=False, **skipped)
    outlines, counts = found.shapes["cell_boundaries"], found.tables["table"]
    counts.obs_names = counts.obs["cell_id"].astype(str)
    both = outlines.index.astype(str).intersection(counts.obs_names, sort=False)
    log_incomplete(len(outlines), counts, len(both))
    to_global = np.diag([1 / pixel_um, 1 / pixel_um, 1.0])
    geometries = outlines.set_index(outlines.index.astype(str)).loc[both].geometry.to_numpy()
    matched = counts[both].copy()
    matched.obs = matched.obs.drop(columns="cell_id")
    return _assemble.ReadShapes("cells", geometries, matched, to_global=to_global)


def log_incomplete(outlines: int, counts: AnnData, both: int) -> None:
    if not both:
        raise PixnetValueError(f"None of the {outlines:,} outlines has one of the {counts.n_obs:,} rows of counts.")
    if both < max(outlines, counts.n_obs):
        logger.info("%d cells have outline and counts, of %d outlines and %d counts", both, outlines, counts.n_obs)
