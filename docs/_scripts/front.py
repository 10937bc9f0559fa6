"""Draw the picture of the front page, docs/_static/front.webp: H&E, map and cells of a synthetic section."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import scanpy as sc
from spatialdata import SpatialData

import pixnet_sd as ps

PICTURE = Path(__file__).parents[1] / "_static" / "front.webp"
GENE = "KRT8"


def main() -> None:
    ps.settings.progress = False
    measured, section = ps.datasets.toy(seed=1, bins_um=16), ps.datasets.toy(seed=0)
    model = ps.tl.train(measured, table_key="bins_16um_counts")
    ps.pp.tissue(section)
    ps.tl.predict(section, model=model)
    ps.tl.aggregate(section, "cells")
    cluster(section)
    draw(section)


def cluster(section: SpatialData) -> None:
    cells = section["cells_expression"]
    sc.pp.normalize_total(cells)
    sc.pp.log1p(cells)
    sc.pp.pca(cells, n_comps=15)
    sc.pp.neighbors(cells)
    sc.tl.leiden(cells, resolution=0.15, flavor="igraph", n_iterations=2)


def draw(section: SpatialData) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    ps.pl.shapes(section, "cells", he="color", linewidth=0.4, ax=axes[0])
    axes[0].set_title("H&E and outlines of nuclei")
    ps.pl.expression(section, GENE, ax=axes[1])
    axes[1].set_title(f"tl.predict: {GENE} everywhere")
    ps.pl.shapes(section, "cells", "leiden", ax=axes[2])
    axes[2].set_title("tl.aggregate, then scanpy")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110, bbox_inches="tight", pil_kwargs={"quality": 90})


if __name__ == "__main__":
    main()
