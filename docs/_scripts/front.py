"""Draw docs/_static/front.webp (H&E with nuclei, two genes, clusters) and compare.webp of the bundled section.

python docs/_scripts/front.py STORE    STORE is a zarr store in which the results are kept; made if it is not there
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import spatialdata as sd
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd.demo import DETAIL_UM, cluster_profiles

STATIC = Path(__file__).parents[1] / "_static"
GENES = ("ERBB2", "COL1A1")
COMPARED = "CD74"


def main(store: Path) -> None:
    if not store.exists():
        make_results(store)
    section = sd.read_zarr(store)
    cluster_profiles(section["nuclei_expression"])
    draw_front(section)
    draw_comparison(section)


def make_results(store: Path) -> None:
    section = ps.datasets.breast()
    ps.pp.tissue(section)
    ps.tl.predict(section)
    ps.pp.nuclei(section)
    for shapes in ("nuclei", "spots"):
        ps.tl.aggregate(section, shapes)
    section.write(store)


def draw_front(section: SpatialData) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 5.6), layout="constrained")
    ps.pl.shapes(section, "nuclei", he="color", crop_coord=DETAIL_UM, title="pp.nuclei", linewidth=0.6, ax=axes[0, 0])
    titles = [f"tl.predict: {gene}" for gene in GENES]
    ps.pl.expression(section, GENES, title=titles, ax=[axes[0, 1], axes[1, 0]])
    ps.pl.shapes(section, "nuclei", "leiden", size=2, title="tl.aggregate, then scanpy", ax=axes[1, 1])
    save(figure, "front.webp")


def draw_comparison(section: SpatialData) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.6), layout="constrained")
    ps.pl.compare(section, COMPARED, predicted_key="spots_expression", measured_key="spots_counts", ax=axes)
    save(figure, "compare.webp")


def save(figure: plt.Figure, name: str) -> None:
    STATIC.mkdir(exist_ok=True)
    figure.savefig(STATIC / name, dpi=110, bbox_inches="tight", pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "front.zarr"))
