"""Folders as Space Ranger and Xenium's software write them, small, with a truth that is known.

Each shape's place in the image has a color of its own, and shape k is the only one that has counts of gene k + 1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
import tifffile
import zarr
from skimage.io import imsave

WHITE = 255


@dataclass(frozen=True)
class Truth:
    """What a reader must find."""

    folder: Path
    ids: list[str]
    colors: np.ndarray
    """(shapes, 3): the color of the image under each shape."""
    counts: np.ndarray
    """(shapes, genes)."""
    mpp: float


def colors_of(n: int) -> np.ndarray:
    """No two are alike, and none is white."""
    k = np.arange(n)
    return np.column_stack([10 + k % 20 * 10, 10 + k // 20 % 20 * 10, 60 + k // 400 * 10]).astype(np.uint8)


def counts_of(n: int) -> np.ndarray:
    counts = np.eye(n, n + 2, 1, dtype=np.int32) * 7
    counts[:, 0] = 1
    return counts


def write_10x_h5(path: Path, counts: np.ndarray, barcodes: list[str], **attributes: object) -> None:
    """A count matrix as Cell Ranger 3 and later write it: features x barcodes, compressed by column."""
    matrix = sp.csc_matrix(counts.T)
    n = counts.shape[1]
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices.astype(np.int64), matrix.indptr
        group["shape"] = np.array(matrix.shape, dtype=np.int32)
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{k:011}" for k in range(n)], dtype="S")
        features["name"] = np.array([f"GENE{k}" for k in range(n)], dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * n, dtype="S")
        features["genome"] = np.array(["GRCh38"] * n, dtype="S")
        features["_all_tag_keys"] = np.array(["genome"], dtype="S")


def painted(shape: tuple[int, int], masks: list[np.ndarray], colors: np.ndarray) -> np.ndarray:
    image = np.full((*shape, 3), WHITE, np.uint8)
    for mask, color in zip(masks, colors, strict=True):
        image[mask] = color
    return image


def pixel_centers(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices(shape)
    return x + 0.5, y + 0.5


def visium(folder: Path, *, old: bool = False, prefix: str = "", mpp: float = 2.5) -> Truth:
    """Six rows of spots that run along y: the section is turned. Two are outside tissue, so they have no counts."""
    rows, columns = (a.ravel() for a in np.mgrid[0:6, 0:12])
    on_array = (rows + columns) % 2 == 0
    rows, columns = rows[on_array], columns[on_array]
    x, y = (rows * 50 * np.sqrt(3) + 60) / mpp, (columns * 50 + 50) / mpp
    n, shape = len(rows), (280, 240)
    colors, barcodes = colors_of(n), [f"ACGT{k:012d}-1" for k in range(n)]
    at_x, at_y = pixel_centers(shape)
    masks = [(at_x - cx) ** 2 + (at_y - cy) ** 2 <= (40 / mpp) ** 2 for cx, cy in zip(x, y, strict=True)]
    image = painted(shape, masks, colors)
    spatial = folder / "spatial"
    spatial.mkdir(parents=True)
    tifffile.imwrite(folder / "section.tif", image, photometric="rgb", tile=(64, 64))
    imsave(spatial / "tissue_hires_image.png", image[::2, ::2], check_contrast=False)
    imsave(spatial / "tissue_lowres_image.png", image[::4, ::4], check_contrast=False)
    scales = {"spot_diameter_fullres": 65 / mpp, "tissue_hires_scalef": 0.5, "tissue_lowres_scalef": 0.25}
    (spatial / "scalefactors_json.json").write_text(json.dumps(scales))
    places = positions(barcodes, rows, columns, x, y)
    places.loc[places["barcode"].isin(barcodes[:2]), "in_tissue"] = 0
    name = "tissue_positions_list.csv" if old else "tissue_positions.csv"
    places.to_csv(spatial / name, index=False, header=not old)
    counts = counts_of(n)[2:]
    write_10x_h5(folder / f"{prefix}filtered_feature_bc_matrix.h5", counts, barcodes[2:], library_ids=[b"sample"])
    return Truth(folder, barcodes[2:], colors[2:], counts, mpp)


def positions(barcodes: list[str], rows: np.ndarray, columns: np.ndarray, x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """In an order that is not that of the counts, as in real files."""
    return pd.DataFrame(
        {
            "barcode": barcodes,
            "in_tissue": np.ones(len(rows), int),
            "array_row": rows,
            "array_col": columns,
            "pxl_row_in_fullres": y,
            "pxl_col_in_fullres": x,
        }
    ).sample(frac=1, random_state=0)


def visium_hd(folder: Path, *, turned_deg: float = 12.0, mpp: float = 0.5) -> dict[int, Truth]:
    """8 x 8 bins of 16 µm with their 2 and 8 µm bins, on a lattice that is turned against the image."""
    side, turn, corner = 8, np.deg2rad(turned_deg), np.array([100.0, 50.0])
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / mpp  # 1 µm of the array in px
    places = (np.stack(pixel_centers((400, 400)), axis=-1) - corner) @ np.linalg.inv(axes).T / 16
    column, row = np.floor(places).astype(int).transpose(2, 0, 1)
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    colors = colors_of(side * side)
    image = np.full((*inside.shape, 3), WHITE, np.uint8)
    image[inside] = colors[(row * side + column)[inside]]
    (folder / "microscope_image").mkdir(parents=True)
    file = folder / "microscope_image" / "section.btf"
    tifffile.imwrite(file, image, photometric="rgb", tile=(128, 128), bigtiff=True)
    write_feature_slice(folder / "feature_slice.h5")
    return {size: write_bins(folder, size, side * 16 // size, axes, corner, mpp, image) for size in (2, 8, 16)}


def write_feature_slice(path: Path) -> None:
    layout = {"file_format": "1.0", "transform": np.eye(3).ravel().tolist()}
    with h5py.File(path, "w") as file:
        file.attrs["metadata_json"] = json.dumps({"hd_layout_json": json.dumps(layout), "transform_matrices": {}})


def write_bins(
    folder: Path, size: int, side: int, axes: np.ndarray, corner: np.ndarray, mpp: float, image: np.ndarray
) -> Truth:
    rows, columns = (a.ravel() for a in np.mgrid[0:side, 0:side])
    centers = (np.column_stack([columns, rows]) + 0.5) * size @ axes.T + corner
    barcodes = [f"s_{size:03}um_{r:05}_{c:05}-1" for r, c in zip(rows, columns, strict=True)]
    under = (rows * size // 16) * 8 + columns * size // 16
    spatial = folder / "binned_outputs" / f"square_{size:03}um" / "spatial"
    spatial.mkdir(parents=True)
    scales = {
        "spot_diameter_fullres": size / mpp,
        "bin_size_um": float(size),
        "microns_per_pixel": mpp,
        "regist_target_img_scalef": 0.25,
        "tissue_lowres_scalef": 0.1,
        "tissue_hires_scalef": 0.5,
        "fiducial_diameter_fullres": 100.0,
    }
    (spatial / "scalefactors_json.json").write_text(json.dumps(scales))
    imsave(spatial / "tissue_hires_image.png", image[::2, ::2], check_contrast=False)
    places = positions(barcodes, rows, columns, *centers.T)
    places.to_parquet(spatial / "tissue_positions.parquet", index=False)
    kept = np.arange(len(rows)) % 5 != 0  # bins without tissue are not among the filtered counts
    counts = counts_of(64)[under[kept]]
    ids = [barcode for barcode, one in zip(barcodes, kept, strict=True) if one]
    write_10x_h5(spatial.parent / "filtered_feature_bc_matrix.h5", counts, ids)
    return Truth(folder, ids, colors_of(64)[under[kept]], counts, mpp)


def xenium(folder: Path, *, planar: bool = False, he_mpp: float = 0.5, with_alignment: bool = True) -> Truth:
    """Square cells of 12 µm; the H&E image is turned by 90 degrees, mirrored and moved against them."""
    folder.mkdir(parents=True)
    pixel_um, n = 0.2125, 24
    x_um, y_um = 20 + 20.0 * (np.arange(n) % 6), 15 + 20.0 * (np.arange(n) // 6)
    ids = [f"aaaaab{'abcdefghijklmnop'[k // 16]}{'abcdefghijklmnop'[k % 16]}-1" for k in range(n)]
    to_morphology = np.array([[0.0, he_mpp / pixel_um, -40.0], [he_mpp / pixel_um, 0.0, -30.0], [0.0, 0.0, 1.0]])
    shape = (320, 240)
    at_x, at_y = pixel_centers(shape)
    um_x = (to_morphology[0, 1] * at_y + to_morphology[0, 2]) * pixel_um
    um_y = (to_morphology[1, 0] * at_x + to_morphology[1, 2]) * pixel_um
    masks = [(abs(um_x - x) <= 8) & (abs(um_y - y) <= 8) for x, y in zip(x_um, y_um, strict=True)]
    colors = colors_of(n)
    image = painted(shape, masks, colors)
    layout = {"photometric": "minisblack", "metadata": {"axes": "CYX"}} if planar else {"photometric": "rgb"}
    tifffile.imwrite(
        folder / "sample_he_image.ome.tif", np.moveaxis(image, 2, 0) if planar else image, tile=(64, 64), **layout
    )
    if with_alignment:
        np.savetxt(folder / "sample_he_imagealignment.csv", to_morphology, delimiter=",")
    specs = {"pixel_size": pixel_um, "analysis_sw_version": "xenium-3.1.0.4", "run_name": "toy"}
    (folder / "experiment.xenium").write_text(json.dumps(specs))
    counts = counts_of(n)
    write_10x_h5(folder / "cell_feature_matrix.h5", counts, ids)
    write_cells(folder, ids, x_um, y_um)
    return Truth(folder, ids, colors, counts, he_mpp)


def write_cells(folder: Path, ids: list[str], x_um: np.ndarray, y_um: np.ndarray) -> None:
    n = len(ids)
    pd.DataFrame(
        {"cell_id": ids, "x_centroid": x_um, "y_centroid": y_um, "cell_area": 144.0, "nucleus_area": 30.0}
    ).to_parquet(folder / "cells.parquet")
    corners = np.array([[-6, -6], [6, -6], [6, 6], [-6, 6], [-6, -6]], dtype=float)
    pd.DataFrame(
        {
            "cell_id": np.repeat(ids, len(corners)),
            "vertex_x": (x_um[:, None] + corners[:, 0]).ravel().astype(np.float32),
            "vertex_y": (y_um[:, None] + corners[:, 1]).ravel().astype(np.float32),
            "label_id": np.repeat(np.arange(1, n + 1), len(corners)),
        }
    ).to_parquet(folder / "cell_boundaries.parquet")
    with zarr.storage.ZipStore(folder / "cells.zarr.zip", mode="w") as store:
        group = zarr.open_group(store, mode="w", zarr_format=2)
        group.create_array("cell_id", data=np.array([[int(unletter(one), 16), 1] for one in ids], dtype=np.uint32))
        columns: dict[str, Any] = {
            "cell_centroid_x": x_um,
            "cell_centroid_y": y_um,
            "cell_area": 144.0,
            "nucleus_centroid_x": x_um,
        }
        columns |= {"nucleus_centroid_y": y_um, "nucleus_area": 30.0, "z_level": 0.0, "nucleus_count": 1.0}
        names: dict[str, Any] = {"column_names": list(columns)}
        values = np.column_stack([np.broadcast_to(column, n) for column in columns.values()])
        group.create_array("cell_summary", data=values, attributes=names)
        for mask in (0, 1):
            group.create_array(f"polygon_sets/{mask}/cell_index", data=np.arange(n, dtype=np.uint32))


def unletter(cell_id: str) -> str:
    """Xenium writes the hexadecimal digits 0 to f as the letters a to p."""
    return "".join("0123456789abcdef"["abcdefghijklmnop".index(letter)] for letter in cell_id.partition("-")[0])
