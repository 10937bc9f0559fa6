"""The main job from end to end on synthetic tissue: train, predict, aggregate, cluster, draw.

`python -m pixnet_sd.demo FOLDER` does it in about two minutes on two cores and leaves pictures in FOLDER.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import scanpy as sc
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._settings import logger

SIZE_PX = 2048
GENES = ["COL1A1", "KRT8", "TFF3", "IGHG1"]


def main(folder: Path) -> None:
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    logger.info("1/5 two synthetic sections with measured spots, and a third one to predict")
    measured = [ps.datasets.toy(seed, size_px=SIZE_PX) for seed in (1, 2)]
    section = ps.datasets.toy(0, size_px=SIZE_PX)
    logger.info("2/5 train on the spots of the two")
    model = ps.tl.train(measured, table_key="spots_counts", name="demo")
    model.save(folder / "model", overwrite=True)
    logger.info("3/5 predict every pixel of the third, and pool over cells and spots")
    ps.pp.tissue(section, "he")
    ps.tl.predict(section, "he", model=model)
    for shapes in ("cells", "spots"):
        ps.tl.aggregate(section, shapes)
    logger.info("4/5 cluster the cells with scanpy")
    cluster_cells(section)
    logger.info("5/5 draw")
    draw_pictures(section, folder)
    logger.info("done in %.0f s: pictures and model are in %s", time.perf_counter() - start, folder.resolve())


def cluster_cells(section: SpatialData) -> None:
    """Cluster the profiles of the cells; the table keeps its counts."""
    cells = section.tables["cells_expression"]
    profiles = sc.pp.normalize_total(cells, copy=True)
    sc.pp.log1p(profiles)
    sc.pp.pca(profiles, n_comps=15)
    sc.pp.neighbors(profiles, n_neighbors=15)
    sc.tl.leiden(profiles, resolution=0.1, flavor="igraph", n_iterations=2)
    cells.obs["leiden"] = profiles.obs["leiden"]


def draw_pictures(section: SpatialData, folder: Path) -> None:
    scores = ps.tl.evaluate(section, "spots_expression", "spots_counts")
    ps.pl.expression(section, GENES, image_key="he", vmin=0, ncols=2, save=folder / "maps.png", show=False)
    ps.pl.shapes(section, "cells", "leiden", image_key="he", save=folder / "clusters.png", show=False)
    ps.pl.shapes(section, "cells", "KRT8", image_key="he", vmin=0, save=folder / "cells_KRT8.png", show=False)
    ps.pl.scores(scores, save=folder / "scores.png", show=False)
    best = scores["pearson"].idxmax()
    ps.pl.compare(
        section,
        best,
        predicted_key="spots_expression",
        measured_key="spots_counts",
        image_key="he",
        save=folder / "compare.png",
        show=False,
    )
    plt.close("all")
    scores.to_csv(folder / "scores.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
