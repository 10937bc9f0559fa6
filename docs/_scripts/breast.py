"""Write the files of `ps.datasets.breast()` from section C5 of `ps.datasets.her2st`.

`python docs/_scripts/breast.py`; C5 is downloaded, or found in the folder named by PIXNET_SD_DATA_DIR.
"""

import numpy as np
from PIL import Image

from pixnet_sd.datasets._her2st_files import (
    BREAST_ATTRIBUTION,
    BREAST_CROP_PX,
    BREAST_FOLDER,
    SPOT_DIAMETER_UM,
    MeasuredSection,
    read_section,
)


def main() -> None:
    section = read_section("C5")
    BREAST_FOLDER.mkdir(exist_ok=True)
    write_image(section)
    write_spots(section)
    (BREAST_FOLDER / "ATTRIBUTION.txt").write_text(BREAST_ATTRIBUTION + "\n")


def write_image(section: MeasuredSection) -> None:
    """Write the crop with chroma at half the resolution, as in the original."""
    Image.MAX_IMAGE_PIXELS = None
    crop = Image.open(section.image_path).crop(BREAST_CROP_PX)
    encoding = {"quality": 85, "subsampling": "4:2:0", "optimize": True, "progressive": True}
    crop.save(BREAST_FOLDER / "breast.jpg", comment=BREAST_ATTRIBUTION.encode(), **encoding)


def write_spots(section: MeasuredSection) -> None:
    """Write the spots that lie wholly in the crop, with their counts of all genes."""
    x0, y0, x1, y1 = BREAST_CROP_PX
    centers, radius = section.centers_xy_px, SPOT_DIAMETER_UM / 2 / section.mpp
    inside = ((centers - radius >= (x0, y0)) & (centers + radius <= (x1, y1))).all(axis=1)
    np.savez_compressed(
        BREAST_FOLDER / "breast.npz",
        spot_ids=section.spot_ids[inside],
        centers_xy_px=centers[inside] - (x0, y0),
        counts=section.counts[inside].toarray().astype(np.uint16),
        genes=section.genes,
        mpp=section.mpp,
        attribution=BREAST_ATTRIBUTION,
    )


if __name__ == "__main__":
    main()
