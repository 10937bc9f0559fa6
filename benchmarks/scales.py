"""One size of spot to learn from, every size to predict: dense maps beside a crop for each shape. Synthetic tissue.

The true rate is known at every pixel of `ps.datasets.toy`, so a prediction for shapes of any size is compared with the
expected counts there, gene by gene. All rows see the same features of the same 55 µm spots of the same two sections,
and predict a third one. Nothing is tuned here.

    python benchmarks/scales.py [--out results.md] [--figure scales.png] [--steps 800] [--methods NAME ...]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from spatialdata import SpatialData
from torch import nn

import pixnet_sd as ps
from pixnet_sd._aggregate import aggregate
from pixnet_sd._grid import PixelGrid
from pixnet_sd._sdata import images, placement
from pixnet_sd._shapes import Shapes
from pixnet_sd.nn.loss import Counts, RateLoss, rate_loss
from pixnet_sd.nn.network import NetworkConfig, PixNet
from pixnet_sd.nn.tiling import to_unit
from pixnet_sd.tl._job import at_step

SIZE_PX, MPP, CROP_PX = 2048, 0.5, 224
BINS_UM = (2.0, 8.0, 16.0, 100.0)
SHAPES = {"bins_2um": 2, "bins_8um": 8, "bins_16um": 16, "spots": 55, "bins_100um": 100, "cells": None}
NETWORK = NetworkConfig(encoder="stain", levels=None, decoder="pixel", widths=(64,))
GENES = 60
CROP_EPOCHS = 400
SCORED = 3000
"""Shapes of each size that are scored, at random: a crop for each of a quarter of a million bins would take hours."""

Predict = Callable[[str], np.ndarray]
"""Expected counts, or something that should rise with them, (shapes, genes) of one shapes element."""


@dataclass(frozen=True)
class Section:
    """A section with what is true about it."""

    sdata: SpatialData
    scored: dict[str, np.ndarray]
    """Which shapes of each element."""
    truth: dict[str, np.ndarray]
    """Their expected counts."""


def test_section() -> Section:
    sdata = ps.datasets.toy(0, size_px=SIZE_PX, bins_um=BINS_UM)
    tables = {key: ps.tl.aggregate(sdata, key, image_key="truth", inplace=False) for key in SHAPES}
    random = np.random.default_rng(0)
    scored = {key: np.sort(random.permutation(len(table))[:SCORED]) for key, table in tables.items()}
    return Section(sdata, scored, {key: np.asarray(table.X)[scored[key]] for key, table in tables.items()})


def dense(config: ps.TrainConfig, method: str, training: list[SpatialData], test: Section) -> Predict:
    """Train on the spots, predict every pixel once, pool over whatever is asked."""
    model = ps.tl.train(training, table_key="spots_counts", method=method, config=config, validation=None)
    ps.tl.predict(test.sdata, "he", model=model, overwrite=True)
    tables = {key: ps.tl.aggregate(test.sdata, key, image_key="he_programmes", inplace=False) for key in SHAPES}
    return lambda key: np.asarray(tables[key].X)[test.scored[key]]


def shuffled(sdata: SpatialData) -> SpatialData:
    """The control: every spot gets the counts of another one."""
    mixed = SpatialData.init_from_elements({**sdata.images, **sdata.shapes, **sdata.tables}, attrs=sdata.attrs)
    table = sdata.tables["spots_counts"].copy()
    table.X = table.X[np.random.default_rng(0).permutation(len(table))]
    mixed.tables["spots_counts"] = table
    return mixed


def crops(training: list[SpatialData], test: Section) -> Predict:
    """A network that sees one crop of 224 px around each shape, at whatever size the shape has."""
    seen = [(crop_features(sdata, "spots"), *counts_of(sdata)) for sdata in training]
    mean, scale = np.mean(np.concatenate([s[0] for s in seen]), 0), np.std(np.concatenate([s[0] for s in seen]), 0)
    network = train_crops([((features - mean) / scale, *rest) for features, *rest in seen])

    def predict(key: str) -> np.ndarray:
        features = torch.from_numpy((crop_features(test.sdata, key, test.scored[key]) - mean) / scale).float()
        with torch.inference_mode():
            return network(features).numpy() * areas_um2(test.sdata, key)[test.scored[key], None]

    return predict


def crop_features(sdata: SpatialData, key: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """(shapes, D): the encoder's features averaged over each crop."""
    network = PixNet(NETWORK, GENES, encoder_weights=None).eval()
    picture, _ = at_step(images.read_rgb(sdata, "he", None), 1.0)
    window = picture.grid.window.grow(network.margin)
    with torch.inference_mode():
        maps = network.decoder.readout.dense(network.features(to_unit(picture.read(window)[None], "cpu")))[0].numpy()
    edge = network.margin // network.stride
    centres = shapes_of(sdata, key).centroid[rows]
    boxes = squares(centres / network.stride + edge, CROP_PX / network.stride)
    return aggregate(maps, boxes, "mean").values


def squares(centres: np.ndarray, side: float) -> Shapes:
    import geopandas as gpd
    import shapely
    from spatialdata.models import ShapesModel

    half = side / 2
    boxes = shapely.box(*(centres - half).T, *(centres + half).T)
    return placement.in_pixels(ShapesModel.parse(gpd.GeoDataFrame(geometry=boxes)), np.eye(3))


def shapes_of(sdata: SpatialData, key: str) -> Shapes:
    return placement.read_shapes(sdata, key, "he", PixelGrid(SIZE_PX, SIZE_PX, (1.0, 1.0))).shapes


def areas_um2(sdata: SpatialData, key: str) -> np.ndarray:
    return shapes_of(sdata, key).area * MPP**2


def counts_of(sdata: SpatialData) -> tuple[np.ndarray, np.ndarray]:
    return sdata.tables["spots_counts"].X.toarray().astype(np.float32), areas_um2(sdata, "spots")


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
            ones, zeros = torch.ones(len(counts)), torch.zeros(len(counts), dtype=torch.long)
            measured = Counts(torch.from_numpy(counts), ones, zeros, torch.from_numpy(counts.sum(1)))
            optimiser.zero_grad()
            rate_loss(expected, measured, log_dispersion.exp() + 1e-3, RateLoss()).backward()
            optimiser.step()
        schedule.step()
    return network.eval()


def rows(name: str, predict: Predict, test: Section, sums: bool) -> list[dict[str, object]]:
    return [row(name, key, predict(key), test.truth[key], sums) for key in SHAPES]


def row(name: str, key: str, predicted: np.ndarray, truth: np.ndarray, sums: bool) -> dict[str, object]:
    known = np.isfinite(predicted).all(axis=1)
    predicted, truth = predicted[known], truth[known]
    pearson = [np.corrcoef(*pair)[0, 1] for pair in zip(predicted.T, truth.T, strict=True)]
    totals = predicted.sum(1), truth.sum(1)
    slope = (totals[0] @ totals[1]) / (totals[1] @ totals[1]) if sums else np.nan
    bias = totals[0].sum() / totals[1].sum() - 1 if sums else np.nan
    return {
        "method": name,
        "shapes": key,
        "size_um": SHAPES[key],
        "pcc": np.mean(pearson),
        "slope": slope,
        "bias": bias,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the table here")
    parser.add_argument("--figure", type=Path, help="draw accuracy against size here")
    parser.add_argument("--steps", type=int, default=800, help="of the trained dense networks")
    parser.add_argument("--methods", nargs="*", help="only these rows, by name")
    options = parser.parse_args()
    ps.settings.progress = False
    training = [ps.datasets.toy(seed, size_px=SIZE_PX) for seed in (1, 2)]
    test, found = test_section(), []
    ours = ps.TrainConfig(network=NETWORK, steps=options.steps)
    linear = ps.TrainConfig(network=replace(NETWORK, programmes=32))
    safb = replace(NETWORK, decoder="safb", head="log", widths=(64, 128, 256, 512), context_um=())
    paper = replace(ours, network=safb, lr=5e-4, weight_decay=1e-4, steps=options.steps // 2)
    methods: dict[str, tuple[Callable[[], Predict], bool]] = {
        "crop network": (lambda: crops(training, test), True),
        "ridge": (lambda: dense(linear, "ridge", training, test), False),
        "paper's recipe": (lambda: dense(paper, "pixnet", training, test), False),
        "pixnet-sd": (lambda: dense(ours, "pixnet", training, test), True),
        "pixnet-sd, labels shuffled": (lambda: dense(ours, "pixnet", [shuffled(s) for s in training], test), True),
    }
    for name in options.methods or methods:
        work, sums = methods[name]
        start = time.perf_counter()
        found += rows(name, work(), test, sums)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.DataFrame(found)
    text = table.to_markdown(index=False, floatfmt=".3f")
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    if options.figure:
        ps.pl.scales(table.dropna(subset="size_um"), save=options.figure, show=False)


if __name__ == "__main__":
    main()
