"""Reader of Visium HD: a lattice of square bins, and segmented cells if there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster import lattice
from pixnet_sd.io import _assemble, _vendor
from pixnet_sd.io._visium import read_visium_image

BINS = "binned_outputs/square_*um"
KIND = "a folder of Space Ranger for Visium HD"
NO_IMAGE = "no-image"
"""A file that does not exist, so that spatialdata-io does not load the whole image into memory."""


def visium_hd(
    path: str | Path, bins_um: int | Sequence[int] = 8, *, image: str | Path | None = None, mpp: float | None = None
) -> SpatialData:
    """Read the output folder of Space Ranger for a Visium HD section.

    Bins are squares along the axes of the array, which are usually rotated relative to the image. They have neither
    overlaps nor gaps, and bins of 16 µm consist of bins of 2 µm.

    Parameters
    ----------
    path
        Folder with ``binned_outputs/`` and ``feature_slice.h5``.
    bins_um
        Side or sides of the bins to read: 2, 8, 16.
    image
        Microscope image that was passed to Space Ranger. Default: the one in ``microscope_image/``, ``tissue_image``
        with any suffix, or ``spatial/tissue_hires_image.png``, whose pixels are too coarse for most models.
    mpp
        µm per pixel of that image. Default: from ``scalefactors_json.json``. Warns if that or the pitch of the bins
        differs by more than 5 %.

    Returns
    -------
    Object with the image ``"he"``, polygons ``"bins_8um"`` and the table ``"bins_8um_counts"`` for each size, and
    ``"cells"`` with ``"cells_counts"`` if Space Ranger segmented cells; coordinate systems in pixels of the
    microscope image (``"global"``) and in µm (``"micrometers"``).

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.io.visium_hd("outs", [2, 16])  # doctest: +SKIP
    """
    folder = _vendor.folder_of(path, BINS, KIND)
    sizes = check_bins_um(folder, [bins_um] if isinstance(bins_um, int) else list(bins_um))
    readers = _vendor.import_readers()
    with _vendor.named_folder_errors(folder, KIND):
        found = readers.visium_hd(
            folder,
            dataset_id="hd" if (folder / "feature_slice.h5").exists() else None,
            bin_size=sizes,
            bins_as_squares=False,
            load_segmentations_only=False,
            fullres_image_file=folder / NO_IMAGE,
        )
    fits = {size: fit_bins(found, size) for size in sizes}
    spatial = folder / "binned_outputs" / bin_directory(sizes[0]) / "spatial"
    scan, to_global = read_visium_image(spatial, image or find_hd_image(folder))
    scale = to_global[0, 0]
    known = {
        "scalefactors_json.json": _vendor.read_json(spatial / "scalefactors_json.json")["microns_per_pixel"] * scale,
        **{f"the pitch of bins of {size} µm": fit.mpp((size, size)) * scale for size, fit in fits.items()},
        **scan.stated_mpp,
    }
    frame = _assemble.GlobalFrame(to_global, _assemble.choose_mpp(_assemble.IMAGE, mpp, known) / scale)
    return _assemble.assemble_section(
        scan, frame, [*(bins_of(found, *one) for one in fits.items()), *read_segmented(found)]
    )


def bin_directory(size_um: int) -> str:
    return f"square_{size_um:03}um"


def check_bins_um(folder: Path, sizes: list[int]) -> list[int]:
    there = sorted(int(found.name.removeprefix("square_").removesuffix("um")) for found in folder.glob(BINS))
    if not sizes or set(sizes) - set(there):
        raise PixnetValueError(f"bins_um={sizes} is not available; {folder} has bins of {there} µm. Choose from these.")
    return sizes


def find_hd_image(folder: Path) -> Path | None:
    inside = [file for file in sorted((folder / "microscope_image").glob("*")) if file.is_file()]
    return _vendor.single_file(inside or sorted(folder.glob("*tissue_image.*")), "the microscope image", "image")


def fit_bins(found: SpatialData, size: int) -> lattice.Lattice:
    table = found.tables[bin_directory(size)]
    return lattice.fit_lattice(
        table.obs["array_col"].to_numpy(), table.obs["array_row"].to_numpy(), table.obsm["spatial"], "bins"
    )


def bins_of(found: SpatialData, size: int, fit: lattice.Lattice) -> _assemble.ReadShapes:
    table = found.tables[bin_directory(size)]
    table.obs = table.obs.drop(columns="location_id")
    return _assemble.ReadShapes(f"bins_{size}um", fit.cells(table.obsm["spatial"]), table)


def read_segmented(found: SpatialData) -> list[_assemble.ReadShapes]:
    """Return the segmented cells, if there are any; table rows are in the order of the polygons."""
    if "cell_segmentations" not in found.tables:
        return []
    (shapes,) = (one for name, one in found.shapes.items() if name.endswith("cell_segmentations"))
    return [_assemble.ReadShapes("cells", shapes.geometry.to_numpy(), found["cell_segmentations"])]
