"""Sections of the HER2+ breast cancer data as plain arrays: which files they are, and how these are read.

Andersson et al., Nature Communications 12, 6012 (2021); four serial sections of patient C, on the array of Spatial
Transcriptomics with spots of 100 µm. Knows numpy, scipy and pandas, not spatialdata.

A data folder holds, for each section, what `fetch` would put there:
    her2st/images/C2.jpg    her2st/spots/C2.tsv    her2st/counts/C2.tsv.gz
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from skimage import io

from pixnet_sd._errors import PixnetKeyError
from pixnet_sd._keys import suggest_names
from pixnet_sd.datasets._fetch import RemoteFile, fetch_file

SOURCE = "https://raw.githubusercontent.com/almaan/her2st/85df7411b987a7dec3feff9718b869a7a82091ec/data"
SPOT_DIAMETER_UM = 100.0
SPOT_PITCH_UM = 200.0
"""Distance of neighboring spots along a row or column of the array."""
BREAST_CROP_PX = (2320, 1380, 6672, 4276)
"""The part of section C5 that is in the package: x0, y0, x1, y1. The bundled model is trained without its spots."""
BREAST_FOLDER = Path(__file__).parent / "_data"
BREAST_ATTRIBUTION = (
    "Part of section C5 of patient C, H&E and Spatial Transcriptomics of HER2-positive breast cancer. "
    "Andersson et al., Nature Communications 12, 6012 (2021), doi 10.1038/s41467-021-26271-2; "
    "https://github.com/almaan/her2st. License: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/. "
    "Changes: cropped to 4352 x 2896 px, compressed again, spots that lie in it kept."
)


@dataclass(frozen=True, slots=True)
class SectionFiles:
    """The three files of a section."""

    image: RemoteFile
    """H&E, JPEG."""
    spots: RemoteFile
    """Table of spots: place on the array, place on the image, whether it lies under tissue."""
    counts: RemoteFile
    """Table of spots by genes."""


def section_files(section: str, scan: str, image: str, spots: str, counts: str) -> SectionFiles:
    """Return the files of a section from its name, the name of its scan, and three checksums."""
    return SectionFiles(
        RemoteFile(f"her2st/images/{section}.jpg", f"{SOURCE}/ST-imgs/C/{section}/5714_HE_BT_{scan}.jpg", image),
        RemoteFile(f"her2st/spots/{section}.tsv", f"{SOURCE}/ST-spotfiles/{section}_selection.tsv", spots),
        RemoteFile(f"her2st/counts/{section}.tsv.gz", f"{SOURCE}/ST-cnts/{section}.tsv.gz", counts),
    )


FILES = {
    "C2": section_files(
        "C2",
        scan="C2",
        image="26e2f73ae840cdd46c5bba405aae181f13a56a376b9848dff23f7a9c5de7f19e",
        spots="235b5f4306b3b57c628ffc82c98c7109602474fbcc79a917b9c50517f99b6b1c",
        counts="c1c59ea6cffae36b9ecb561b8e2a97e3aa5f4085f748e991a0e330ed9d09773d",
    ),
    "C3": section_files(
        "C3",
        scan="D1",
        image="0005a92674014d473040a28f0afca89ce5fa5c44019b479b638ceb3272ceb568",
        spots="7fd76c13370b7804ac3bb377b846d22485cf9223f9dd8dfc25be06e5aaf65755",
        counts="e00c55a3eb9caac5d9c71b8906aae8be8b38f93e23938f4a0ebee17683ef6a2a",
    ),
    "C4": section_files(
        "C4",
        scan="D2",
        image="f40607eb1d5f0d125decd71c48b0c5d29cf6776ad92297fd185631208c82d6f2",
        spots="47e79f3b9dbfa3a8c18af9e948ba7ba4bf0a75ea1b4c292bc714ced7d0917d4c",
        counts="33201f76d41d7131dc600a0f87d9a70383af3503e81698b4d11e6f2e8d73e9da",
    ),
    "C5": section_files(
        "C5",
        scan="E1",
        image="34028ea41e376396b50c42b0a11a7e689c85be4a8022e668d0a09cc128c04c65",
        spots="2114cc3b4da759772112897f1e247d5443c9f8c808e6a9a952eb4fda379a194c",
        counts="c0f310315ca6110d74dbdf7011e5b42432ba0b8eb5f001824764911988f39338",
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredSection:
    """What was measured on one section; every row is a spot that lies under tissue and has counts."""

    name: str
    """As in `FILES`."""
    spot_ids: NDArray[np.str_]
    """Column and row on the array, as in "10x21"."""
    centers_xy_px: NDArray[np.float64]
    """(spots, 2): centers on the image."""
    counts: sparse.csr_matrix
    """(spots, genes): raw counts, int32."""
    genes: NDArray[np.str_]
    """Symbols as in the file, where they are unique: the second gene of a symbol is called "MATR3.1" there. They are
    different genes to the annotation, so they are not added up."""
    mpp: float
    """µm per pixel of the image, from the array's pitch."""
    image_path: Path
    """The JPEG."""
    spots_without_counts: int
    """Number of spots under tissue that are left out because no counts were published."""

    def image(self) -> NDArray[np.uint8]:
        """Decode the H&E image (3, y, x), which takes about 280 MB and a second."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Image size")  # 92 megapixels alarm Pillow; the sum vouches
            return np.moveaxis(io.imread(self.image_path), -1, 0)


def read_section(name: str) -> MeasuredSection:
    """Read all files of a section but the image; download them if needed."""
    files = files_of(name)
    image_path, spots, counts = (
        fetch_file(files.image),
        read_spots(fetch_file(files.spots)),
        read_spot_counts(fetch_file(files.counts)),
    )
    both = spots.index.intersection(counts.index, sort=False)
    return MeasuredSection(
        name=name,
        spot_ids=both.to_numpy(dtype=str),
        centers_xy_px=spots.loc[both, ["pixel_x", "pixel_y"]].to_numpy(),
        counts=sparse.csr_matrix(counts.loc[both].to_numpy()),
        genes=counts.columns.to_numpy(dtype=str),
        mpp=SPOT_PITCH_UM / pitch_px(spots),
        image_path=image_path,
        spots_without_counts=len(spots) - len(both),
    )


def read_breast() -> MeasuredSection:
    """Read the section that is in the package."""
    with np.load(BREAST_FOLDER / "breast.npz") as file:
        return MeasuredSection(
            name="breast",
            spot_ids=file["spot_ids"],
            centers_xy_px=file["centers_xy_px"],
            counts=sparse.csr_matrix(file["counts"].astype(np.int32)),
            genes=file["genes"],
            mpp=float(file["mpp"]),
            image_path=BREAST_FOLDER / "breast.jpg",
            spots_without_counts=0,
        )


def files_of(name: str) -> SectionFiles:
    if name not in FILES:
        raise PixnetKeyError(
            f"There is no section {name!r} of her2st here; choose one of {', '.join(FILES)}."
            f"{suggest_names(name, FILES)}"
        )
    return FILES[name]


def read_spots(path: Path) -> pd.DataFrame:
    """Read the spots under tissue, indexed by id."""
    spots = pd.read_csv(path, sep="\t")
    spots.index = pd.Index([f"{x}x{y}" for x, y in zip(spots["x"], spots["y"], strict=True)])
    return spots[spots["selected"] == 1]


def read_spot_counts(path: Path) -> pd.DataFrame:
    """Read the counts (spots x genes) as int32."""
    return pd.read_csv(path, sep="\t", index_col=0).astype(np.int32)


def pitch_px(spots: pd.DataFrame) -> float:
    """Compute the distance of neighboring spots from the best affine map of the array to the image.

    Every spot's place was found on its own and strays by some 20 px; all of them together give the pitch to 0.1 %.
    """
    on_array = np.column_stack([spots["x"], spots["y"], np.ones(len(spots))])
    to_image = np.linalg.lstsq(on_array, spots[["pixel_x", "pixel_y"]].to_numpy())[0]
    return float(np.sqrt(abs(np.linalg.det(to_image[:2]))))
