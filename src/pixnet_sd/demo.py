"""The main job from end to end on real tissue: predict, find nuclei, aggregate, cluster, compare, draw.

`python -m pixnet_sd.demo FOLDER` does it in about three minutes on two free cores and leaves pictures in FOLDER.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import scanpy as sc
from anndata import AnnData
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._settings import logger

GENES = ["ERBB2", "COL1A1", "KRT19", "CD74"]
DETAIL_UM = (1500, 1000, 1900, 1270)
"""Part of the section in which single nuclei can be seen."""


def main(folder: Path) -> None:
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    logger.info("1/5 a real section of breast cancer, 3 x 2 mm")
    section = ps.datasets.breast()
    ps.pp.tissue(section)
    logger.info("2/5 predict every pixel of its tissue with the bundled model")
    ps.tl.predict(section)
    logger.info("3/5 find nuclei, and pool the map over nuclei and spots")
    ps.pp.nuclei(section)
    for shapes in ("nuclei", "spots"):
        ps.tl.aggregate(section, shapes)
    logger.info("4/5 cluster the nuclei with scanpy")
    cluster_profiles(section["nuclei_expression"])
    logger.info("5/5 draw")
    draw_pictures(section, folder)
    logger.info("done in %.0f s: pictures are in %s", time.perf_counter() - start, folder.resolve())


def cluster_profiles(table: AnnData) -> None:
    """Cluster the profiles of a table, which keeps its counts."""
    profiles = sc.pp.normalize_total(table, copy=True)
    sc.pp.log1p(profiles)
    sc.pp.pca(profiles, n_comps=15)
    # With pynndescent, which scanpy takes by default for many cells, this compiles for a minute or fails (0.7).
    sc.pp.neighbors(profiles, transformer="sklearn")
    sc.tl.leiden(profiles, resolution=0.1, flavor="igraph", n_iterations=2)
    table.obs["leiden"] = profiles.obs["leiden"]


def draw_pictures(section: SpatialData, folder: Path) -> None:
    ps.pl.expression(section, GENES, ncols=2, save=folder / "maps.png", show=False)
    ps.pl.shapes(section, "nuclei", he="color", crop_coord=DETAIL_UM, save=folder / "nuclei.png", show=False)
    ps.pl.shapes(section, "nuclei", "leiden", size=2, save=folder / "clusters.png", show=False)
    draw_comparison(section, folder)
    plt.close("all")


def draw_comparison(section: SpatialData, folder: Path) -> None:
    """Draw predicted beside measured spots."""
    predicted, measured = "spots_expression", "spots_counts"
    scores = ps.tl.evaluate(section, predicted, measured)
    scores.to_csv(folder / "scores.csv")
    ps.pl.scores(scores, save=folder / "scores.png", show=False)
    where = folder / "compare.png"
    ps.pl.compare(section, "CD74", predicted_key=predicted, measured_key=measured, save=where, show=False)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
