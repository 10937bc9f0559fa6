"""A large slide from end to end: 10^6 cells, 10^4 genes behind 16 programs, 30,000 x 30,000 px.

Each stage runs in a process of its own, which says how long it took and how much memory it held at its peak. What takes
hours on two cores, or more memory than a laptop has, is done on a part, and the table says on which. The network is
untrained: nothing is said of accuracy.
"""

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import shapely
import spatialdata as sd
import torch
from spatialdata import SpatialData
from spatialdata.transformations import Identity, Scale

import pixnet_sd as ps
from pixnet_sd._sdata import build
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet

STRIDE, MPP, PROGRAMS, CORNERS = 4, 0.5, 16, 24
NETWORK = NetworkConfig(encoder="stain", levels=None, mpp=MPP, stride=STRIDE, context_um=(150.0,), programs=PROGRAMS)
BAND_PX, PART_PX = 1024, 8192
"""Height of the band in which shapes are predicted; the map is predicted in its first pixels only."""
MOST_GB = 16.0
AXES = ("x", "y")


class Slide:
    """What is asked of the slide."""

    def __init__(self, size_px: int, cells: int, genes: int) -> None:
        self.size_px, self.side = size_px, round(cells**0.5)
        self.genes = [f"gene{number}" for number in range(genes)]
        self.few = self.genes[: max(1, genes // 25)]

    @property
    def pitch_px(self) -> float:
        return self.size_px / self.side

    def cells(self, rows: int) -> np.ndarray:
        """The outlines of the first rows of cells, of which each touches its neighbors."""
        random = np.random.default_rng(0)
        y, x = np.mgrid[:rows, : self.side].reshape(2, -1)
        angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
        reach = 0.45 * self.pitch_px * random.uniform(0.7, 1.3, (len(x), CORNERS))
        outline = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=-1)
        return shapely.polygons(outline + ((np.stack([x, y], axis=1) + 0.5) * self.pitch_px)[:, None])

    @property
    def rows_in_band(self) -> int:
        return int(BAND_PX / self.pitch_px)


def untrained(slide: Slide) -> Model:
    torch.manual_seed(0)
    network = PixNet(NETWORK, len(slide.genes), encoder_weights=None)
    return Model([network], slide.genes, Card("untrained, for load only"))


def make(slide: Slide, path: Path) -> str:
    """A store with pixels and programs of noise, all cells, and those of one band."""
    random, size_px, side = da.random.default_rng(0), slide.size_px, slide.size_px // STRIDE
    pixels = random.integers(0, 256, (3, size_px, size_px), dtype=np.uint8, chunks=(3, 1024, 1024))
    rates = random.random((PROGRAMS, side, side), dtype=np.float32, chunks=(PROGRAMS, 256, 256))
    here, programs = {"global": Identity()}, [f"p{number}" for number in range(PROGRAMS)]
    band = np.zeros((size_px // 64, size_px // 64), np.uint8)
    band[: BAND_PX // 64, : PART_PX // 64] = 1
    cells = slide.cells(slide.side)
    part = cells[: slide.rows_in_band * slide.side]
    elements = {
        "he": build.make_image(pixels, list("rgb"), here, chunks=(3, 1024, 1024)),
        "band": build.make_labels(band, {"global": Scale([64.0, 64.0], AXES)}),
        "old_programs": build.make_image(rates, programs, {"global": Scale([float(STRIDE)] * 2, AXES)}),
        "old_programs_loadings": build.make_loadings(
            np.random.default_rng(0).random((PROGRAMS, len(slide.genes))), programs, pd.DataFrame(index=slide.genes)
        ),
        "cells": build.make_polygons(cells, pd.RangeIndex(len(cells)), here),
        "cells_of_band": build.make_polygons(part, pd.RangeIndex(len(part)), here),
    }
    facts = {"kind": "programs", "unit": "counts/um2", "mpp": MPP * STRIDE}
    build.make_section(elements, {"old_programs": facts}, {"he": MPP}).write(path)
    return f"{size_px}² px, {len(cells):,} cells, {PROGRAMS} programs at {side}² px"


def aggregate_pixels(slide: Slide, sdata: SpatialData) -> str:
    table = ps.tl.aggregate(sdata, "cells", raster_key="he", statistic="mean", inplace=False)
    return f"{slide.size_px}² px on disk, 3 channels, {table.n_obs:,} cells"


def aggregate_some_genes(slide: Slide, sdata: SpatialData) -> str:
    table = ps.tl.aggregate(sdata, "cells", raster_key="old_programs", genes=slide.few, inplace=False)
    return f"{table.n_obs:,} cells x {table.n_vars:,} of {len(slide.genes):,} genes"


def aggregate_all_genes(slide: Slide, sdata: SpatialData) -> str:
    table = ps.tl.aggregate(sdata, "cells_of_band", raster_key="old_programs", inplace=False)
    return f"{table.n_obs:,} of {slide.side**2:,} cells x {table.n_vars:,} genes"


def predict_shapes(slide: Slide, sdata: SpatialData) -> str:
    table = ps.tl.predict_shapes(sdata, "cells_of_band", image_key="he", model=untrained(slide), inplace=False)
    return f"a band of {slide.size_px} x {BAND_PX} px, {table.n_obs:,} cells x {table.n_vars:,} genes"


def predict(slide: Slide, sdata: SpatialData) -> str:
    ps.tl.predict(sdata, "he", model=untrained(slide), tissue_key="band")
    return f"{min(slide.size_px, PART_PX)} x {BAND_PX} px into a map of {slide.size_px // STRIDE}² px"


STAGES = {one.__name__: one for one in (aggregate_pixels, aggregate_some_genes, aggregate_all_genes)}
STAGES |= {one.__name__: one for one in (predict_shapes, predict)}


def work(name: str, slide: Slide, path: Path) -> None:
    """One stage, in a process of its own."""
    ps.settings.progress = False
    if name == "make":
        start, did = time.perf_counter(), make(slide, path)
    else:
        sdata = sd.read_zarr(path)
        start, did = time.perf_counter(), ""
        did = STAGES[name](slide, sdata)
    seconds = time.perf_counter() - start
    print(f"{did}|{seconds:.0f}|{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=30_000, help="side of the slide in px")
    parser.add_argument("--cells", type=int, default=10**6)
    parser.add_argument("--genes", type=int, default=10**4)
    parser.add_argument("--stage", choices=["make", *STAGES], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage:
        work(asked.stage, Slide(asked.size, asked.cells, asked.genes), asked.path)
        return
    print(f"{platform.machine()}, {torch.get_num_threads()} threads; an untrained network\n", flush=True)
    print("| stage | on what | seconds | peak, GB |\n|---|---|--:|--:|", flush=True)
    peaks = []
    with tempfile.TemporaryDirectory(prefix="pixnet-load-") as folder:
        for name in ("make", *STAGES):
            options = ["--stage", name, "--path", f"{folder}/slide.zarr", "--size", str(asked.size)]
            options += ["--cells", str(asked.cells), "--genes", str(asked.genes)]
            said = subprocess.run([sys.executable, __file__, *options], check=True, stdout=subprocess.PIPE, text=True)
            on_what, seconds, peak_gb = said.stdout.strip().splitlines()[-1].split("|")
            peaks.append(float(peak_gb))
            print(f"| {name} | {on_what} | {seconds} | {peak_gb} |", flush=True)
    if max(peaks) > MOST_GB:
        sys.exit(f"More than {MOST_GB:g} GB were held.")


if __name__ == "__main__":
    main()
