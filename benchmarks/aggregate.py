"""Pooling a raster over shapes: ours beside every tool that a user might take, same shapes and raster, one run.

    python benchmarks/aggregate.py [--quick] [--out results.md]

Ours is timed from an array of shapely geometries (or of centers and a radius) and a raster in memory to the sums, best
of three, compiled code on disk. A peer that would take too long is timed on a part of the work and scaled; its row says
of what. Peers that are not installed have no row.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from scipy.sparse import csr_array

from pixnet_sd._raster.grid import Window
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd._zonal.coverage import coverage
from pixnet_sd._zonal.shapes import from_circles, from_polygons

SAME = np.eye(3)
CRS = "EPSG:3857"


@dataclass(frozen=True)
class Case:
    """Shapes over a raster."""

    name: str
    polygons: np.ndarray
    """What every peer is given."""
    raster: np.ndarray
    """(c, y, x) float32."""
    centers: np.ndarray | None = None
    radius: float = 0.0
    """Ours takes circles as circles."""

    @property
    def size(self) -> int:
        return self.raster.shape[1]

    def shapes(self):
        if self.centers is not None:
            return from_circles(self.centers, self.radius, SAME)
        return from_polygons(self.polygons, SAME)

    def crop(self, n: int, n_channels: int) -> Case:
        return Case(self.name, self.polygons[:n], self.raster[:n_channels])

    def y_up(self) -> gpd.GeoDataFrame:
        """The geometries in a coordinate system of the world, as GIS tools expect them."""
        flipped = shapely.transform(self.polygons, lambda xy: xy * [1, -1] + [0, self.size])
        return gpd.GeoDataFrame(geometry=flipped, crs=CRS)


@dataclass
class Row:
    case: Case
    method: str
    seconds: float
    sums: np.ndarray = field(repr=False)
    note: str = ""


def seconds_of(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    best, result = np.inf, np.empty(0)
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


# Shapes ---------------------------------------------------------------------------------------------------------------


def cells(n: int, size: int, radius: float, vertices: int = 24) -> np.ndarray:
    rng, angle = np.random.default_rng(0), np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    reach = radius * (1 + 0.25 * rng.uniform(-1, 1, (n, vertices)))
    center = rng.uniform(1.5 * radius, size - 1.5 * radius, (n, 1, 2))
    return shapely.polygons(center + np.stack([reach * np.cos(angle), reach * np.sin(angle)], -1))


def bins(side: int, step: float = 2.0, corner: float = 0.3) -> np.ndarray:
    y, x = (np.mgrid[:side, :side] * step + corner).reshape(2, -1)
    return shapely.box(x, y, x + step, y + step)


def cases(quick: bool) -> Iterator[Case]:
    size, share = (512, 16) if quick else (2048, 1)
    rng = np.random.default_rng(1)
    channels = (1, 8) if quick else (1, 8, 64)
    raster = rng.random((channels[-1], size, size), np.float32)
    centers = rng.uniform(15, size - 15, (5000 // share, 2))
    discs = shapely.buffer(shapely.points(centers), 12.0, quad_segs=16)
    outlines = cells(20_000 // share, size, 5.5)
    for c in channels:
        yield Case(f"{len(discs):,} circles", discs, raster[:c], centers, 12.0)
    for c in channels:
        yield Case(f"{len(outlines):,} cells", outlines, raster[:c])
    squares = bins(1000 // (4 if quick else 1))
    yield Case(f"{len(squares):,} bins", squares, raster[:1])
    if not quick:
        del raster
        large = np.empty((64, 4096, 4096), np.float32)
        for plane in large:
            rng.random(out=plane, dtype=np.float32)
        for c in (8, 64):
            yield Case("200,000 cells", cells(200_000, 4096, 4.5), large[:c])


# Methods: the time for a case (scaled where only a part was run), the sums of the shapes that were run, a note --------


def ours(case: Case, budget_s: float) -> Row:
    first, _ = seconds_of(lambda: aggregate(case.raster, case.shapes(), progress=False).values)
    seconds, sums = seconds_of(lambda: aggregate(case.raster, case.shapes(), progress=False).values, 3)
    return Row(case, "ours, fused", seconds, sums, f"first call {first:.2f} s")


def ours_by_weights(case: Case, budget_s: float) -> Row:
    flat = case.raster.reshape(len(case.raster), -1)

    def work() -> np.ndarray:
        weights = coverage(case.shapes(), Window(0, 0, *case.raster.shape[1:]))
        return np.stack([weights @ plane for plane in flat], 1)

    return Row(case, "ours, CSR weights", *seconds_of(work))


def scaled(case: Case, method: str, run: Callable[[Case], np.ndarray], budget_s: float, channels: int = 0) -> Row:
    """A method whose time is proportional to shapes (and to channels, where it loops over them): on what fits."""
    n, n_channels = len(case.polygons), channels or len(case.raster)
    probe, _ = seconds_of(lambda: run(case.crop(min(n, 500), n_channels)))
    some = int(min(n, max(500, 500 * budget_s / max(probe, 1e-3))))
    part = case.crop(some, n_channels)
    seconds, sums = seconds_of(lambda: run(part))
    factor = n / some * len(case.raster) / n_channels
    note = "" if factor == 1 else f"ran {some:,} shapes x {n_channels}, scaled"
    return Row(case, method, seconds * factor, sums, note)


def exactextract_frame(case: Case, budget_s: float) -> Row:
    from exactextract import exact_extract

    def run(part: Case) -> np.ndarray:
        found = exact_extract(sources(part), part.y_up(), ["sum"], output="pandas")
        return found.to_numpy(float)

    return scaled(case, "exactextract, GeoDataFrame", run, budget_s)


def exactextract_weights(case: Case, budget_s: float) -> Row:
    from exactextract import exact_extract

    def run(part: Case) -> np.ndarray:
        found = exact_extract(
            sources(part.crop(len(part.polygons), 1)), part.y_up(), ["cell_id", "coverage"], output="pandas"
        )
        counts = found["cell_id"].map(len).to_numpy()
        start = np.concatenate([[0], np.cumsum(counts)])
        place, share = np.concatenate(found["cell_id"]), np.concatenate(found["coverage"]).astype(float)
        weights = csr_array((share, place, start), shape=(len(found), part.size**2))
        return np.stack([weights @ plane.ravel() for plane in part.raster], 1)

    return scaled(case, "exactextract, cell ids + CSR", run, budget_s)


def sources(case: Case) -> list:
    from exactextract.raster import NumPyRasterSource

    wkt = gpd.GeoSeries(crs=CRS).crs.to_wkt()
    extent = (0, 0, case.size, case.size)
    return [NumPyRasterSource(plane, *extent, name=f"b{k}", srs_wkt=wkt) for k, plane in enumerate(case.raster)]


def extractrs_weights(case: Case, budget_s: float) -> Row:
    import extractrs

    def run() -> np.ndarray:
        wkb = shapely.to_wkb(case.y_up().geometry.to_numpy()).tolist()
        weights = extractrs.build_cache(wkb, list(range(len(wkb))), 0.0, 0.0, case.size, case.size, 1.0, 1.0)
        # It takes float64 only; the conversion, in groups of channels, is part of the work.
        groups = (case.raster[k : k + 8].astype(np.float64) for k in range(0, len(case.raster), 8))
        return np.hstack([np.asarray(extractrs.apply_stat_batch(weights, group, -9999.0, "sum")).T for group in groups])

    return Row(case, "extractrs", *seconds_of(run))


def rasterstats_zonal(case: Case, budget_s: float) -> Row:
    from rasterio.transform import from_origin
    from rasterstats import zonal_stats

    def run(part: Case) -> np.ndarray:
        placed = {"affine": from_origin(0, part.size, 1, 1), "nodata": -9999.0, "stats": ["sum"]}
        features = part.y_up().geometry.to_list()
        sums = [[row["sum"] for row in zonal_stats(features, plane, **placed)] for plane in part.raster]
        return np.array(sums, float).T

    return scaled(case, "rasterstats (pixel centers)", run, budget_s, channels=1)


def labels_of(case: Case) -> np.ndarray:
    from rasterio.features import rasterize

    numbered = ((polygon, k + 1) for k, polygon in enumerate(case.polygons))
    return rasterize(numbered, case.raster.shape[1:], dtype="int32")


def spatialdata_labels(case: Case, budget_s: float) -> Row:
    import spatialdata
    from spatialdata.models import Image2DModel, Labels2DModel

    labels = labels_of(case)
    image = Image2DModel.parse(case.raster[:1], dims=("c", "y", "x"))
    zones = Labels2DModel.parse(labels, dims=("y", "x"))
    seconds, table = seconds_of(lambda: spatialdata.aggregate(values=image, by=zones, agg_func="sum")["table"])
    sums = np.full((len(case.polygons), 1), np.nan)
    rows = table.obs["instance_id"].to_numpy().astype(int)
    sums[rows[rows > 0] - 1] = np.asarray(table.X.todense() if hasattr(table.X, "todense") else table.X)[rows > 0]
    note = "ran 1 channel, scaled; labels made beforehand"
    return Row(case, "spatialdata.aggregate, labels", seconds * len(case.raster), sums, note)


def xrspatial_zonal(case: Case, budget_s: float) -> Row:
    import xarray as xr
    from xrspatial.zonal import stats

    zones, plane = xr.DataArray(labels_of(case)), xr.DataArray(case.raster[0])
    seconds, found = seconds_of(lambda: stats(zones, plane, stats_funcs=["sum"]))
    sums = np.full((len(case.polygons) + 1, 1), np.nan)
    sums[found["zone"].to_numpy(int), 0] = found["sum"]
    note = "ran 1 channel, scaled; labels made beforehand"
    return Row(case, "xrspatial, labels", seconds * len(case.raster), sums[1:], note)


METHODS = {
    ours: "pixnet_sd",
    ours_by_weights: "pixnet_sd",
    exactextract_frame: "exactextract",
    exactextract_weights: "exactextract",
    extractrs_weights: "extractrs",
    rasterstats_zonal: "rasterstats",
    spatialdata_labels: "spatialdata",
    xrspatial_zonal: "xrspatial",
}
SLOW_WITH_MANY_ZONES = {spatialdata_labels: 50_000, xrspatial_zonal: 50_000}
"""They visit every zone in Python; above so many they would take more than minutes even for one channel."""
FLOORS = {
    ("20,000 cells", 8, "exactextract, GeoDataFrame"): 40,
    ("20,000 cells", 64, "exactextract, GeoDataFrame"): 100,
    ("20,000 cells", 8, "spatialdata.aggregate, labels"): 300,
    ("200,000 cells", 64, "extractrs"): 3,
    ("1,000,000 bins", 1, "exactextract, GeoDataFrame"): 500,
}


# Report ---------------------------------------------------------------------------------------------------------------


def copy_bandwidth() -> float:
    """Bytes read and written per second by one thread that copies."""
    source = np.ones(2**25)
    target = np.empty_like(source)
    seconds, _ = seconds_of(lambda: np.copyto(target, source), 5)
    return 2 * source.nbytes / seconds


def difference(row: Row, reference: Row | None) -> str:
    """The largest difference to exactextract, as a share of its largest sum, over what both ran."""
    if reference is None:
        return ""
    n, c = (min(a, b) for a, b in zip(row.sums.shape, reference.sums.shape, strict=True))
    mine, theirs = row.sums[:n, :c], reference.sums[:n, :c]
    return f"{np.nanmax(abs(mine - theirs)) / np.nanmax(abs(theirs)):.0e}"


def lines_of(rows: list[Row]) -> Iterator[str]:
    case, best = rows[0].case, rows[0].seconds
    pairs = coverage(case.shapes(), Window(0, 0, *case.raster.shape[1:])).nnz
    reference = next((row for row in rows if row.method.startswith("exactextract, G")), None)
    for row in rows:
        ratio, touched = row.seconds / best, pairs * len(case.raster) * 4 / row.seconds / 1e9
        floor = FLOORS.get((case.name, len(case.raster), row.method))
        reached = "" if floor is None else f" (floor {floor}: {'reached' if ratio >= floor else 'MISSED'})"
        cells = case.name, len(case.raster), row.method, f"{row.seconds:.3g}", f"{ratio:.3g}{reached}"
        yield "| " + " | ".join(map(str, [*cells, difference(row, reference), f"{touched:.3g}", row.note])) + " |"


def heading() -> list[str]:
    tools = ["numba", "numpy", "exactextract", "extractrs", "rasterstats", "spatialdata", "xarray-spatial"]
    installed = [f"{tool} {version(tool)}" for tool in tools if find_spec(tool.replace("xarray-spatial", "xrspatial"))]
    return [
        "# Pooling a raster over shapes",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {', '.join(installed)}.",
        f"One thread copies {copy_bandwidth() / 1e9:.1f} GB/s (read and written). Raster: float32 in memory.",
        "",
        "| shapes | channels | method | seconds | times ours | difference to exactextract | GB/s of raster | |",
        "|---|--:|---|--:|--:|--:|--:|---|",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small shapes and rasters, about half a minute")
    parser.add_argument("--out", type=Path, help="write the table as markdown")
    options = parser.parse_args()
    lines = heading()
    print("\n".join(lines), flush=True)
    for case in cases(options.quick):
        wanted = [m for m, needs in METHODS.items() if find_spec(needs)]
        wanted = [m for m in wanted if len(case.polygons) <= SLOW_WITH_MANY_ZONES.get(m, np.inf)]
        rows = [method(case, 1.0 if options.quick else 10.0) for method in wanted]
        lines += (block := list(lines_of(rows)))
        print("\n".join(block), flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
