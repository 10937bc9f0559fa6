"""What prediction costs: beside the bare network, beside one crop for each shape, and as slides grow.

The network is that of the bundled model with one member and random weights: these are figures of speed and memory,
and nothing is said of accuracy. Options choose tables and sizes:

    python -m benchmarks.predict [--tables overhead backends crops memory growth] [--size 4096] [--tile 1024]
"""

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import dask.array as da
import geopandas as gpd
import numpy as np
import shapely
import spatialdata as sd
import torch
from benchmarks.train_default import NETWORK
from spatialdata import SpatialData
from spatialdata.models import Image2DModel, ShapesModel

import pixnet_sd as ps
from pixnet_sd._sdata.levels import arrays_of
from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.inference.predict import for_inference, forward_programs
from pixnet_sd.nn.inference.tiling import read_batch, to_unit
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.tl._predict import predict
from pixnet_sd.tl._predict_shapes import predict_shapes
from pixnet_sd.tl._prediction.options import PredictOptions
from pixnet_sd.tl._prediction.plan import make_plan

MPP = 0.5
CROP_PX, FIELDS_PX = 224, (112, 112)
"""A spot's crop as published methods cut it, and two wide fields at fewer pixels, which see what our network sees."""
SPOT_PITCH_UM = 100.0
CELLS = 100_000
GENES = [f"gene{number}" for number in range(250)]
TABLES = ("overhead", "backends", "crops", "memory", "growth")
SLIDES, SLIDE_PX, TISSUE = 10_000, 40_000 * 30_000, 0.3
"""For the estimate: how many, how large, and the share of them that is tissue."""


def untrained(**shape: object) -> Model:
    torch.manual_seed(0)
    config = NetworkConfig.from_json({**replace(NETWORK, mpp=MPP).to_json(), **shape})
    return Model([PixNet(config, len(GENES), encoder_weights=None)], GENES, Card("untrained, for speed only"))


def noise(size_px: int) -> SpatialData:
    """A lazy image without structure."""
    pixels = da.random.default_rng(0).integers(0, 256, (3, size_px, size_px), dtype=np.uint8, chunks=(3, 1024, 1024))
    sdata = SpatialData.init_from_elements(
        {"he": Image2DModel.parse(pixels, dims=("c", "y", "x"), c_coords=list("rgb"))}
    )
    ps.pp.mpp(sdata, "he", mpp=MPP)
    return sdata


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def job_of(sdata: SpatialData, model: Model, **options):
    return make_plan(sdata, model, PredictOptions(image_key="he", **options))


def overhead(size_px: int, tile_px: int, repeats: int) -> None:
    """The whole of `tl.predict`, and the same network over the same tiles that are already in memory."""
    model = untrained()
    sdata = noise(size_px)
    sdata["he"] = sdata["he"].persist()
    job = job_of(sdata, model, tile_size=tile_px)
    ready = [to_unit(read_batch(job.picture, [tile]), "cpu") for tile in job.tiles]

    def bare() -> None:
        network = for_inference(model.network, "cpu")
        with torch.inference_mode():
            for tile in ready:
                network(tile)

    def whole(folder: str | None) -> float:
        slide = SpatialData.init_from_elements({"he": sdata["he"]}, attrs=sdata.attrs)
        if folder:
            slide.write(Path(folder) / "slide.zarr")
        return seconds(lambda: predict(slide, "he", model=model, tile_size=tile_px, progress=False))

    bare()
    times: dict[str, list[float]] = {"bare network": [], "tl.predict, in memory": [], "tl.predict, backed by zarr": []}
    for _ in range(repeats):
        times["bare network"].append(seconds(bare))
        times["tl.predict, in memory"].append(whole(None))
        with tempfile.TemporaryDirectory() as folder:
            times["tl.predict, backed by zarr"].append(whole(folder))
    print(f"\n### Over the bare network ({size_px}² px, {len(ready)} tiles of {tile_px} px)\n")
    print("| | seconds (least) | of the bare network |\n|---|---|---|")
    least = {name: min(values) for name, values in times.items()}
    for name, value in least.items():
        print(f"| {name} | {value:.2f} | {value / least['bare network']:.2f} |")


def backends(size_px: int, tile_px: int, repeats: int) -> None:
    """The bundled model by torch and by OpenVINO in turns: its network on one tile, and the whole of `tl.predict`."""
    model, sdata = Model.load("default"), noise(size_px)
    sdata["he"] = sdata["he"].persist()
    job = job_of(sdata, model, tile_size=tile_px, device="cpu", backend="torch")
    tile, network = to_unit(read_batch(job.picture, job.tiles[:1]), "cpu"), for_inference(model.network, "cpu")
    runs = {name: forward_programs(network, replace(job.how, backend=name)) for name in ("torch", "openvino")}
    maps = {}

    def whole(name: str) -> None:
        slide = SpatialData.init_from_elements({"he": sdata["he"]}, attrs=sdata.attrs)
        predict(slide, "he", model=model, tile_size=tile_px, device="cpu", backend=name, progress=False)
        maps[name] = arrays_of(slide["he_programs"])[0].compute()

    print(f"\n### The bundled model by torch and by OpenVINO ({size_px}² px, {len(job.tiles)} tiles of {tile_px} px)\n")
    print("| | torch, processor s | OpenVINO | ratio of each turn |\n|---|---|---|---|", flush=True)
    with torch.inference_mode():
        print_turns("one tile, the network alone", {name: partial(run, tile) for name, run in runs.items()}, repeats)
    print_turns("`tl.predict`, in memory", {name: partial(whole, name) for name in runs}, repeats)
    apart = np.abs(maps["torch"] - maps["openvino"]).max() / maps["torch"].std()
    print(f"\nThe maps are up to {apart:.1e} SD apart.")


def print_turns(what: str, works: dict[str, Callable[[], object]], repeats: int) -> None:
    """After one turn that does not count, for what is compiled or converted once."""
    turns = [[processor_seconds(work) for work in works.values()] for _ in range(repeats + 1)][1:]
    (ours, theirs), ratios = map(min, zip(*turns, strict=True)), [one / other for one, other in turns]
    print(f"| {what} | {ours:.2f} | {theirs:.2f} | {', '.join(f'{ratio:.2f}' for ratio in ratios)} |", flush=True)


def processor_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def beside_crops(size_px: int, tile_px: int, sample: int) -> None:
    """One dense pass and aggregation, and the same encoder on a crop around every shape."""
    model = untrained()
    slide = noise(size_px)
    slide["he"] = slide["he"].persist()
    ps.pp.bins(slide, 8.0, image_key="he")
    side_um = size_px * MPP
    counts = {"8 µm bins": len(slide["bins_8um"]), "55 µm spots": int(side_um**2 / (SPOT_PITCH_UM**2 * 3**0.5 / 2))}
    asked = {"model": model, "image_key": "he", "tile_size": tile_px, "progress": False}
    dense_s = seconds(lambda: predict_shapes(slide, "bins_8um", **asked))
    encoder = for_inference(model.network, "cpu").members[0].encoder
    crop_s, *fields_s = (crop_seconds(encoder, side, sample) for side in (CROP_PX, *FIELDS_PX))
    ways = {"the encoder on a crop": crop_s, "on a crop and two wide fields": crop_s + sum(fields_s)}
    print(f"\n### Beside a crop of {CROP_PX} px for each shape ({size_px}² px at {MPP} µm; timed on {sample})\n")
    print("| shapes | number | for each shape | s | dense + aggregate, s | times faster |\n|---|---|---|---|---|---|")
    for (name, count), (way, each_s) in product(counts.items(), ways.items()):
        print(f"| {name} | {count} | {way} | {count * each_s:.1f} | {dense_s:.1f} | {count * each_s / dense_s:.2f} |")


def crop_seconds(encoder: Encoder, side_px: int, sample: int) -> float:
    crops = torch.rand(sample, 3, side_px, side_px).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        encoder(crops)
        return min(seconds(lambda: encoder(crops)) for _ in range(3)) / sample


def growth(sizes_px: list[int], tile_px: int) -> None:
    """Seconds and bytes of a map in a store, tissue filling the image, and what many slides would take."""
    model = untrained()
    print(f"\n### As slides grow (backed by zarr, tiles of {tile_px} px)\n")
    print("| image | seconds | s for 10⁶ px | store of the map, MB |\n|---|---|---|---|")
    for size_px in sizes_px:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "slide.zarr"
            noise(256).write(path)
            sdata = sd.read_zarr(path)
            del sdata["he"]
            sdata["he"] = noise(size_px)["he"]
            took = seconds(lambda sdata=sdata: predict(sdata, "he", model=model, tile_size=tile_px, progress=False))
            stored = sum(file.stat().st_size for file in (path / "images" / "he_programs").rglob("*"))
        each = took / size_px**2 * 1e6
        print(f"| {size_px}² px | {took:.0f} | {each:.2f} | {stored / 1e6:.0f} |", flush=True)
    hours = SLIDES * SLIDE_PX * TISSUE * each / 1e6 / 3600
    slides = f"{SLIDES:,} slides of {SLIDE_PX / 1e9:.1f} Gpx, of which {TISSUE:.0%} is tissue"
    print(f"\n{slides}, at the last rate: {hours:,.0f} hours of this machine")


def peak(size_px: int) -> float:
    """In a process of its own: a lazy image, a store, and how much memory was added at the worst moment."""
    model = untrained(encoder="stain", decoder="pixel", widths=[8], overview=0, context_um=[])
    with tempfile.TemporaryDirectory() as folder:
        noise(256).write(Path(folder) / "slide.zarr")
        sdata = sd.read_zarr(Path(folder) / "slide.zarr")
        predict(sdata, "he", model=model, genes=GENES[:2], progress=False)  # what is loaded and compiled once
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        del sdata["he"]
        sdata["he"] = noise(size_px)["he"]
        predict(sdata, "he", model=model, overwrite=True, progress=False)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024


def peak_of_cells(size_px: int) -> float:
    """The same for the bundled network and a table of cells, with no map kept; before it, only libraries and shapes."""
    model, sdata, random = untrained(), noise(size_px), np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outlines = random.uniform(20, size_px - 20, (CELLS, 1, 2)) + 8 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    sdata["cells"] = ShapesModel.parse(gpd.GeoDataFrame(geometry=shapely.polygons(outlines)))
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predict_shapes(sdata, "cells", model=model, image_key="he", progress=False, inplace=False)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024


def memory(sizes_px: list[int]) -> None:
    print("\n### Memory over that of a 256² px slide (backed by zarr, tiles of 1024 px, a small network)\n")
    print("| image | added at the peak, MB |\n|---|---|")
    for size_px in sizes_px:
        print(f"| {size_px}² px | {said('--peak', size_px):.0f} |", flush=True)
    added = said("--peak-of-cells", sizes_px[-1])
    print(f"\n`predict_shapes`, {CELLS:,} cells x {len(GENES)} genes, {sizes_px[-1]}² px: {added:.0f} MB", flush=True)


def said(option: str, size_px: int) -> float:
    command = [sys.executable, "-m", "benchmarks.predict", option, str(size_px)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument("--size", type=int, default=4096, help="side of the slide in px, for overhead and crops")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=32, help="crops that are timed")
    parser.add_argument("--memory", type=int, nargs="*", default=[4096, 8192, 16384])
    parser.add_argument("--growth", type=int, nargs="*", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--peak-of-cells", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak or options.peak_of_cells:
        print(peak(options.peak) if options.peak else peak_of_cells(options.peak_of_cells))
        return
    ps.settings.progress = False
    print(f"{processor_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}; untrained networks")
    run = {
        "overhead": lambda: overhead(options.size, options.tile, options.repeats),
        "backends": lambda: backends(options.size, options.tile, options.repeats),
        "crops": lambda: beside_crops(options.size, options.tile, options.sample),
        "memory": lambda: memory(options.memory),
        "growth": lambda: growth(options.growth, options.tile),
    }
    for name in options.tables:
        run[name]()


if __name__ == "__main__":
    main()
