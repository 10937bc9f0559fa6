"""A folder as Space Ranger writes it, from synthetic tissue: it stands in for your own data in `visium.ipynb`."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
import shapely
import tifffile
from skimage.io import imsave

import pixnet_sd as ps

ROW_UM, COLUMN_UM = 50 * np.sqrt(3), 50.0
"""Of the hexagonal array: spots 100 µm apart, in every second column of a row."""
SMALLER = 8
"""How many pixels of the microscope image make one of the small picture."""


def make_visium(folder: str | Path, *, size_px: int = 1792, mpp: float = 0.5, seed: int = 7) -> str:
    """Write the folder; where it is."""
    folder, toy = Path(folder), ps.datasets.toy(seed, size_px=size_px, mpp=mpp)
    spots, counts = toy["spots"], toy["spots_counts"]
    barcodes = [f"SPOT{number:012d}-1" for number in range(len(spots))]
    spatial = folder / "spatial"
    spatial.mkdir(parents=True, exist_ok=True)
    picture = np.moveaxis(toy["he"].values, 0, -1)
    tifffile.imwrite(folder / "section.tif", picture, photometric="rgb", tile=(256, 256))
    imsave(spatial / "tissue_hires_image.png", picture[::SMALLER, ::SMALLER], check_contrast=False)
    imsave(spatial / "tissue_lowres_image.png", picture[:: 2 * SMALLER, :: 2 * SMALLER], check_contrast=False)
    scales = {"tissue_hires_scalef": 1 / SMALLER, "tissue_lowres_scalef": 0.5 / SMALLER}
    scales["spot_diameter_fullres"] = 65 / mpp
    (spatial / "scalefactors_json.json").write_text(json.dumps(scales))
    write_positions(spatial / "tissue_positions.csv", barcodes, shapely.get_coordinates(spots.geometry), mpp)
    write_counts(folder / "filtered_feature_bc_matrix.h5", sp.csc_matrix(counts.X.T), barcodes, counts.var_names)
    return str(folder)


def write_positions(path: Path, barcodes: list[str], centers_px: np.ndarray, mpp: float) -> None:
    x_um, y_um = ((centers_px - centers_px.min(axis=0)) * mpp).T
    columns = {"barcode": barcodes, "in_tissue": 1}
    columns |= {"array_row": np.rint(y_um / ROW_UM).astype(int), "array_col": np.rint(x_um / COLUMN_UM).astype(int)}
    columns |= {"pxl_row_in_fullres": centers_px[:, 1], "pxl_col_in_fullres": centers_px[:, 0]}
    pd.DataFrame(columns).to_csv(path, index=False)


def write_counts(path: Path, matrix: sp.csc_matrix, barcodes: list[str], genes: pd.Index) -> None:
    """Genes x barcodes, compressed by column."""
    with h5py.File(path, "w") as file:
        file.attrs["library_ids"] = [b"synthetic"]
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["data"], group["indices"] = matrix.data, matrix.indices.astype(np.int64)
        group["indptr"], group["shape"] = matrix.indptr, np.array(matrix.shape, dtype=np.int32)
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{number:011d}" for number in range(len(genes))], dtype="S")
        features["name"] = np.array(list(genes), dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * len(genes), dtype="S")
        features["genome"] = np.array(["synthetic"] * len(genes), dtype="S")
        features["_all_tag_keys"] = np.array(["genome"], dtype="S")
