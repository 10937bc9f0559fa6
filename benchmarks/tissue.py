"""Share of measured spots that lie on the tissue `pp.tissue` finds without looking at them, on real sections.

    python -m benchmarks.tissue DATA [--sensitivity 1]

DATA holds `her2st` as `ps.datasets.her2st` keeps it, `mob_st` (jpg and alignment tables of the STUtility package), and
folders of Space Ranger under `visium_ffpe`; what is not there is left out.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skimage import io
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._metrics.alignment import Raster, tissue_share
from pixnet_sd._sdata import affine, build
from pixnet_sd._sdata.shapes import get_centers

MOB_MPP = 4.44


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sensitivity", type=float, default=1.0)
    asked = parser.parse_args()
    os.environ["PIXNET_SD_DATA_DIR"] = str(asked.data)
    for name, section in sections(asked.data):
        start = time.perf_counter()
        labels = ps.pp.tissue(section, "he", sensitivity=asked.sensitivity, inplace=False)
        seconds = time.perf_counter() - start
        on_tissue, of_image = share(section, labels), labels.values.mean()
        print(f"{name:28} {on_tissue:6.1%} of spots, {of_image:6.1%} of the image, {seconds:.1f} s")


def sections(data: Path) -> Iterator[tuple[str, SpatialData]]:
    for name in ("C2", "C3", "C4", "C5"):
        if (data / "her2st" / "images" / f"{name}.jpg").exists():
            yield f"her2st {name}", ps.datasets.her2st(name)
    for path in sorted((data / "mob_st").glob("MOB*.jpg")):
        yield path.stem, bulb(path)
    for folder in sorted((data / "visium_ffpe").glob("*/spatial")):
        section = ps.io.visium(folder.parent)
        yield (
            folder.parent.name[:28],
            SpatialData(
                images={"he": section[next(iter(section.images))]},
                shapes={"spots": section[next(iter(section.shapes))]},
                attrs=section.attrs,
            ),
        )


def bulb(path: Path) -> SpatialData:
    systems = build.make_transformations({"global": np.eye(3)})
    table = pd.read_csv(path.with_name(f"alignment_table_{path.stem}.tsv.gz"), sep="\t").query("selected == 1")
    pixels = np.moveaxis(io.imread(path), -1, 0)
    centers = table[["pixel_x", "pixel_y"]].to_numpy(float)
    spots = build.make_circles(centers, 50 / MOB_MPP, pd.RangeIndex(len(centers)), systems)
    return build.make_section({"he": build.make_image(pixels, "rgb", systems), "spots": spots}, {}, {"he": MOB_MPP})


def share(section: SpatialData, labels: Any) -> float:
    to_labels = np.linalg.solve(
        affine.to_matrix(affine.get_transformations(labels)["global"]),
        affine.to_matrix(affine.get_transformations(section["spots"])["global"]),
    )
    return tissue_share(Raster(labels.values > 0, to_labels), get_centers(section["spots"]))


if __name__ == "__main__":
    main()
