"""Some sizes of shapes to learn from, every size to predict: dense maps beside a crop for each shape. Simulated counts.

The true rate is known at every pixel, so a prediction for shapes of any size is compared with the expected counts
there, gene by gene. The tissue is synthetic (`ps.datasets.toy`), or real H&E (`her2st`, by PIXNET_SD_DATA_DIR) on which
a rate is made up from stain and nuclei. All rows see the same features of the same shapes of two sections, and predict
a third one. Nothing is tuned here.

    python -m benchmarks.scales [--tissue toy|real] [--train spots | bins_100um | bins_16um bins_8um bins_2um]
        [--out results.md] [--figure scales.png] [--steps 800] [--methods NAME ...]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import scipy.sparse as sp
import shapely
import torch
from anndata import AnnData
from scipy.ndimage import gaussian_filter
from spatialdata import SpatialData, bounding_box_query
from spatialdata.models import ShapesModel
from torch import nn

import pixnet_sd as ps
from pixnet_sd._raster.grid import make_tiles
from pixnet_sd._raster.stain import separate_stains
from pixnet_sd._sdata import build, images, shapes, units
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.nn.inference.tiling import to_unit
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.training.loss import BatchCounts, RateLoss, masked_loss

SIZE_PX, FINE_SIZE_PX, CROP_PX = 2048, 1024, 224
"""Sections of 1 mm, of half a millimetre where bins of a few µm are learnt from, and crops of the crop network."""
BINS = {"bins_2um": 2.0, "bins_8um": 8.0, "bins_16um": 16.0, "bins_100um": 100.0}
FINE_UM = 16.0
WINDOW_PX = (2600, 2600)
"""Upper left corner of what is predicted of C4."""
FINE_WINDOW_PX = (2600, 3000)
"""Of what is learnt from of C2 and C3, where that is bins of a few µm."""
NETWORK = NetworkConfig(encoder="stain", levels=None, mpp=0.5, stride=4, context_um=(150.0,))
GENES = 60
LOADINGS = np.random.default_rng(7).gamma(0.4, 1.0, (5, GENES)).astype(np.float32)
"""Of the rate that is made up."""
CROP_EPOCHS = 400
SCORED = 3000
"""Shapes of each size that are scored, at random: a crop for each of a quarter of a million bins would take hours."""

Predict = Callable[[str], np.ndarray]
"""Expected counts, or something that should rise with them, (shapes, genes) of one shapes element."""
Sizes = dict[str, float | None]
"""Of the shapes that are predicted, in µm; None for cells."""


@dataclass(frozen=True)
class Section:
    """A section with what is true about it."""

    sdata: SpatialData
    scored: dict[str, np.ndarray]
    """Which shapes of each element."""
    truth: dict[str, np.ndarray]
    """Their expected counts."""


@dataclass(frozen=True)
class Study:
    """What is learnt from, and what is predicted."""

    training: list[SpatialData]
    keys: list[str]
    """The shapes whose counts are learnt from, one or several elements."""
    test: Section
    sizes_um: Sizes

    @property
    def tables(self) -> list[str]:
        return [f"{key}_counts" for key in self.keys]

    def shuffled(self) -> "Study":
        """The control: every shape gets the counts of another one."""
        return replace(self, training=[shuffled(sdata, self.tables) for sdata in self.training])


def sides_um(keys: list[str]) -> tuple[float, ...]:
    return tuple(BINS[key] for key in keys if key in BINS)


def is_fine(keys: list[str]) -> bool:
    return any(side <= FINE_UM for side in sides_um(keys))


def synthetic(keys: list[str]) -> Study:
    side_px, bins_um = FINE_SIZE_PX if is_fine(keys) else SIZE_PX, sides_um(keys) or (8.0,)
    training = [ps.datasets.toy(seed, size_px=side_px, bins_um=bins_um) for seed in (1, 2)]
    test = ps.datasets.toy(0, size_px=SIZE_PX, bins_um=tuple(BINS.values()))
    sizes: Sizes = {**BINS, "spots": 55, "cells": None}
    return Study(training, keys, section(test, sizes, true_on_toy), sizes)


def real(keys: list[str]) -> Study:
    window = (*FINE_WINDOW_PX, FINE_SIZE_PX) if is_fine(keys) else None
    training = [simulated(name, window, keys, sides_um(keys)) for name in ("C2", "C3")]
    test, sizes = simulated("C4", (*WINDOW_PX, SIZE_PX), [], tuple(BINS.values())), {**BINS, "spots": 100}
    return Study(training, keys, section(test, sizes, made_up), sizes)


def section(sdata: SpatialData, sizes: Sizes, true: Callable[[SpatialData, str], AnnData]) -> Section:
    tables, random = {key: true(sdata, key) for key in sizes}, np.random.default_rng(0)
    scored = {key: np.sort(random.permutation(len(table))[:SCORED]) for key, table in tables.items()}
    return Section(sdata, scored, {key: np.asarray(table.X)[scored[key]] for key, table in tables.items()})


def true_on_toy(sdata: SpatialData, key: str) -> AnnData:
    return ps.tl.aggregate(sdata, key, raster_key="truth", inplace=False)


def simulated(
    name: str, window: tuple[int, int, int] | None, keys: list[str], bins_um: tuple[float, ...]
) -> SpatialData:
    """A real picture, or a square of it, with bins, and for some of its shapes counts drawn from the made-up rate."""
    found, random = ps.datasets.her2st(name), np.random.default_rng(0)
    if window is not None:
        x, y, side = window
        corners = {"min_coordinate": [x, y], "max_coordinate": [x + side, y + side]}
        found = bounding_box_query(found, axes=("x", "y"), target_coordinate_system="global", **corners)
    sdata = SpatialData.init_from_elements({"he": found["he"], "spots": found["spots"]}, attrs=found.attrs)
    ps.pp.tissue(sdata)
    for side_um in bins_um:
        ps.pp.bins(sdata, side_um, image_key="he")
    for key in keys:
        table = made_up(sdata, key)
        table.X = sp.csr_matrix(random.poisson(table.X).astype(np.int32))
        sdata[f"{key}_counts"] = table
    return sdata


def made_up(sdata: SpatialData, key: str) -> AnnData:
    """Expected counts of shapes: a fixed function of stain and nuclei at every pixel, summed."""
    image, mpp = images.read_rgb(sdata, "he", None), mpp_of(sdata)
    density = np.clip(separate_stains(image.level_at(1.0).data.compute()), 0, None)
    placed = shapes.read_shapes(sdata, key, "he", image.grid)
    pooled = aggregate(programs(*density, mpp), placed.shapes, "sum").values * mpp**2
    genes = pd.DataFrame(index=[f"simulated{number}" for number in range(GENES)])
    return build.make_table(np.nan_to_num(pooled) @ LOADINGS, genes, key, placed.index)


def programs(h: np.ndarray, e: np.ndarray, mpp: float) -> np.ndarray:
    """(5, y, x): nuclei, the same where they are crowded, pale ones, matrix, and where both stains are."""
    nuclei = np.clip(gaussian_filter(h, 1.0 / mpp) - 0.25, 0, 0.5)
    crowd = gaussian_filter(nuclei, 20.0 / mpp)
    matrix = np.clip(gaussian_filter(e, 1.0 / mpp) - nuclei, 0, 0.5)
    pale = nuclei * np.clip(1 - 2 * h, 0, 1)
    return np.stack([nuclei, 8 * nuclei * crowd, 2 * pale, matrix, 4 * matrix * nuclei]).astype(np.float32)


def mpp_of(sdata: SpatialData) -> float:
    return units.image_mpp(sdata, "he")


def shuffled(sdata: SpatialData, tables: list[str]) -> SpatialData:
    mixed = SpatialData.init_from_elements({**sdata.images, **sdata.shapes, **sdata.tables}, attrs=sdata.attrs)
    for key in tables:
        table = sdata.tables[key].copy()
        table.X = table.X[np.random.default_rng(0).permutation(len(table))]
        mixed.tables[key] = table
    return mixed


def dense(config: ps.TrainConfig, method: str, study: Study) -> Predict:
    """Train, predict every pixel once, pool over whatever is asked."""
    test, config = study.test, replace(config, network=replace(config.network, mpp=mpp_of(study.test.sdata)))
    model = ps.tl.train(study.training, table_key=study.tables, method=method, config=config, validation=None)
    ps.tl.predict(test.sdata, "he", model=model, overwrite=True)
    asked = {"raster_key": "he_programs", "inplace": False}
    tables = {key: ps.tl.aggregate(test.sdata, key, **asked) for key in study.sizes_um}
    return lambda key: np.asarray(tables[key].X)[test.scored[key]]


def crops(study: Study) -> Predict:
    """A network that sees one crop around each shape, at whatever size the shape has."""
    seen = [(crop_features(sdata, key), *counts_of(sdata, key)) for sdata in study.training for key in study.keys]
    mean, scale = np.mean(np.concatenate([s[0] for s in seen]), 0), np.std(np.concatenate([s[0] for s in seen]), 0)
    network, test = train_crops([((features - mean) / scale, *rest) for features, *rest in seen]), study.test

    def predict(key: str) -> np.ndarray:
        features = torch.from_numpy((crop_features(test.sdata, key, test.scored[key]) - mean) / scale).float()
        with torch.inference_mode():
            return network(features).numpy() * areas_um2(test.sdata, key)[test.scored[key], None]

    return predict


@torch.inference_mode()
def crop_features(sdata: SpatialData, key: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """(shapes, D): the encoder's features averaged over each crop."""
    centers = shapes_of(sdata, key).centroid[rows]
    network = PixNet(replace(NETWORK, mpp=mpp_of(sdata)), GENES, encoder_weights=None).eval()
    picture, _ = images.at_step(images.read_rgb(sdata, "he", None), 1.0)
    found = np.full((len(centers), network.decoder.readout.dim), np.nan)
    for tile in make_tiles(
        *picture.grid.shape, size=1024, stride=network.alignment, margin=CROP_PX // 2 + network.margin
    ):
        low, high = np.array([[tile.core.x0, tile.core.y0], [tile.core.x1, tile.core.y1]])
        inside = np.flatnonzero(((centers >= low) & (centers < high)).all(axis=1))
        if len(inside):
            dense = network.decoder.readout.dense(network.features(to_unit(picture.read(tile.read)[None], "cpu")))
            places = (centers[inside] - (tile.read.x0, tile.read.y0)) / network.stride
            found[inside] = aggregate(dense[0].numpy(), squares(places, CROP_PX / network.stride), "mean").values
    return found


def squares(centers: np.ndarray, side: float) -> Shapes:
    half = side / 2
    boxes = shapely.box(*(centers - half).T, *(centers + half).T)
    return shapes.to_pixel_shapes(ShapesModel.parse(gpd.GeoDataFrame(geometry=boxes)), np.eye(3))


def shapes_of(sdata: SpatialData, key: str) -> Shapes:
    return shapes.read_shapes(sdata, key, "he", images.read_rgb(sdata, "he", None).grid).shapes


def areas_um2(sdata: SpatialData, key: str) -> np.ndarray:
    return shapes_of(sdata, key).area * mpp_of(sdata) ** 2


def counts_of(sdata: SpatialData, key: str) -> tuple[np.ndarray, np.ndarray]:
    return sdata.tables[f"{key}_counts"].X.toarray().astype(np.float32), areas_um2(sdata, key)


def train_crops(sections: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> nn.Module:
    """Counts per µm² from the features of a crop, by the loss that ours has, until it no longer improves."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(sections[0][0].shape[1], 64), nn.SiLU(), nn.Dropout(0.2), nn.Linear(64, GENES))
    network.append(nn.Softplus())
    log_dispersion = nn.Parameter(torch.full((GENES,), -1.0))
    optimiser = torch.optim.AdamW([*network.parameters(), log_dispersion], lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, CROP_EPOCHS)
    for _ in range(CROP_EPOCHS):
        for features, counts, area in sections:
            expected = network(torch.from_numpy(features).float()) * torch.from_numpy(area).float()[:, None]
            measured = BatchCounts(torch.from_numpy(counts), torch.from_numpy(counts.sum(1)), 1.0)
            optimiser.zero_grad()
            masked_loss("rate", expected, measured, log_dispersion.exp() + 1e-3, RateLoss()).backward()
            optimiser.step()
        schedule.step()
    return network.eval()


def row(
    name: str, key: str, size_um: float | None, predicted: np.ndarray, truth: np.ndarray, sums: bool
) -> dict[str, object]:
    """The slope is that of true on predicted totals, through the origin; 1 where a prediction means what it says."""
    known = np.isfinite(predicted).all(axis=1)
    predicted, truth = predicted[known], truth[known]
    pearson = [np.corrcoef(*pair)[0, 1] for pair in zip(predicted.T, truth.T, strict=True)]
    said, true = predicted.sum(1), truth.sum(1)
    return {
        "method": name,
        "shapes": key,
        "size_um": size_um,
        "pcc": np.mean(pearson),
        "slope": (said @ true) / (said @ said) if sums else np.nan,
        "bias": said.sum() / true.sum() - 1 if sums else np.nan,
    }


TISSUES = {"toy": synthetic, "real": real}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tissue", choices=list(TISSUES), default="toy")
    parser.add_argument("--train", nargs="*", default=["spots"], help="shapes whose counts are learnt from")
    parser.add_argument("--out", type=Path, help="write the table here")
    parser.add_argument("--figure", type=Path, help="draw accuracy against size here")
    parser.add_argument("--steps", type=int, default=800, help="of the trained dense networks")
    parser.add_argument("--methods", nargs="*", help="only these rows, by name")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    ps.settings.progress = False
    study, found = TISSUES[chosen.tissue](chosen.train), []
    ours = ps.TrainConfig(network=NETWORK, steps=chosen.steps)
    linear = ps.TrainConfig(network=replace(NETWORK, programs=32))
    safb = replace(NETWORK, decoder="safb", head="log", widths=(64, 128, 256, 512), context_um=())
    paper = replace(ours, network=safb, lr=5e-4, weight_decay=1e-4, steps=chosen.steps // 2)
    methods: dict[str, tuple[Callable[[], Predict], bool]] = {
        "crop network": (lambda: crops(study), True),
        "ridge": (lambda: dense(linear, "ridge", study), False),
        "paper's recipe": (lambda: dense(paper, "pixnet", study), False),
        "pixnet-sd": (lambda: dense(ours, "pixnet", study), True),
        "pixnet-sd, labels shuffled": (lambda: dense(ours, "pixnet", study.shuffled()), True),
    }
    for name in chosen.methods or methods:
        work, sums = methods[name]
        start, predict = time.perf_counter(), work()
        found += [
            row(name, key, size, predict(key), study.test.truth[key], sums) for key, size in study.sizes_um.items()
        ]
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.DataFrame(found)
    text = table.to_markdown(index=False, floatfmt=".3f")
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    if chosen.figure:
        ps.pl.scales(table.dropna(subset="size_um"), save=chosen.figure, show=False)


if __name__ == "__main__":
    main()
