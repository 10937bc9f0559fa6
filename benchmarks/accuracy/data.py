"""The two data sets as SpatialData with one image "he", circles "spots" and raw counts "spots_counts".

Knows spatialdata, through the package's own builders; nothing of folds or methods.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from skimage import io
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._sdata import affine, build

MOB_MPP = 4.44
"""µm per pixel of the olfactory bulb's pictures: the nearest spots are 141 µm and 31.75 px apart."""
SPOT_UM = 100.0


@dataclass(frozen=True)
class Source:
    """A data set."""

    sections: tuple[str, ...]
    read: Callable[[str], SpatialData]
    mpp: float
    """µm per pixel at which dense networks read it."""


def data_folder() -> Path:
    """Where the files lie: what `PIXNET_SD_DATA_DIR` names."""
    if "PIXNET_SD_DATA_DIR" not in os.environ:
        raise SystemExit("Set PIXNET_SD_DATA_DIR to the folder that holds her2st/, mob_st/ and encoders/.")
    return Path(os.environ["PIXNET_SD_DATA_DIR"])


def encoder_weights() -> Path:
    """ImageNet weights of the encoder that every row shares; not a histology model."""
    return data_folder() / "encoders" / "tf_efficientnet_lite0.in1k.safetensors"


def read_mob(section: str) -> SpatialData:
    """Mouse olfactory bulb, Spatial Transcriptomics, from the examples of STUtility (MIT): 1000 genes of each spot."""
    folder = data_folder() / "mob_st"
    places = pd.read_csv(folder / f"alignment_table_{section}.tsv.gz", sep="\t")
    places = places[places["selected"] == 1]
    places.index = pd.Index([f"{x}x{y}" for x, y in zip(places["x"], places["y"], strict=True)])
    counts = pd.read_csv(folder / f"{section}.tsv.gz", sep="\t", index_col=0)
    spots = places.index.intersection(counts.index, sort=False)
    centers_px = places.loc[spots, ["pixel_x", "pixel_y"]].to_numpy()
    matrix = sp.csr_matrix(counts.loc[spots].to_numpy(np.int32))
    systems = build.make_transformations({"global": np.eye(3), "micrometers": np.diag([MOB_MPP, MOB_MPP, 1.0])})
    picture = np.moveaxis(io.imread(folder / f"{section}.jpg"), -1, 0)
    genes = pd.DataFrame(index=counts.columns.astype(object))
    elements = {
        "he": build.make_image(picture, ["r", "g", "b"], systems, chunks=(3, 512, 512), pyramid=True),
        "spots": build.make_circles(centers_px, SPOT_UM / 2 / MOB_MPP, spots, systems),
        "spots_counts": build.make_table(matrix, genes, "spots", spots, spatial=centers_px * MOB_MPP),
    }
    return build.make_section(elements, {}, {"he": MOB_MPP})


def seen_as(sdata: SpatialData, turns: int, mirror: bool) -> SpatialData:
    """The same section on a picture that lies another way; spots and coordinate systems stay where they are."""
    element = sdata.images["he"]
    pixels, back = affine.finest_array(element).to_numpy(), np.eye(3)
    for _ in range(turns):
        back = back @ [[0, -1, pixels.shape[2]], [1, 0, 0], [0, 0, 1]]
        pixels = np.rot90(pixels, axes=(1, 2))
    if mirror:
        back, pixels = back @ [[-1, 0, pixels.shape[2]], [0, 1, 0], [0, 0, 1]], pixels[:, :, ::-1]
    matrices = {name: affine.to_matrix(one) @ back for name, one in affine.get_transformations(element).items()}
    systems = build.make_transformations(matrices)
    picture = build.make_image(pixels, ["r", "g", "b"], systems, chunks=(3, 512, 512), pyramid=True)
    return SpatialData.init_from_elements({"he": picture, **sdata.shapes, **sdata.tables}, attrs=sdata.attrs)


SOURCES = {
    "her2st": Source(("C2", "C3", "C4", "C5"), ps.datasets.her2st, mpp=1.38),
    "mob_st": Source(("MOB1", "MOB2", "MOB3"), read_mob, mpp=2.22),
}
"""The bulb's pictures are coarse, so they are interpolated to twice their pixels: a spot of 22 px is small."""
