"""Nuclei: F1 against outlines drawn by hand, with and without a network, and what it costs.

The 105 H&E tiles of the Data Science Bowl 2018 (stage 1, CC0; `*_img.png` with `*_lab.png` in one folder). µm per pixel
of these is unknown and differs from tile to tile: a median nucleus is taken for 8 µm. Three folds by tile; a nucleus is
found where an object has more than half of their union in common with it. Tiles are mirrored at their edges.

    python -m benchmarks.nuclei FOLDER                      scores of stain and plain thresholds, on each fold
    python -m benchmarks.nuclei FOLDER --train fold.safetensors --fold 0   train without a fold, and score it there
    python -m benchmarks.nuclei FOLDER --train all.safetensors --steps 600   train on all: the network in the package
    python -m benchmarks.nuclei --speed IMAGE --mpp 0.69    CPU seconds, and mm² per second on two cores
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.io import imread
from skimage.transform import resize
from torch import Tensor

import pixnet_sd as ps
from pixnet_sd._raster import nuclei as by_stain
from pixnet_sd._raster.basins import split_mask
from pixnet_sd._raster.stain import EOSIN, HEMATOXYLIN, unit_rows
from pixnet_sd.nn.nuclei import NucleusNet, detect_with, fold_norms

Detect = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
FOLDS = 3
NUCLEUS_UM = 8.0
MPP_RANGE = (0.15, 0.65)
MIRRORED_PX = 64
LEAST_PX = 60
TRAIN_MPP = 0.4
"""Finer than what the network sees, so that crops can be turned and scaled."""
CROP_PX, BATCH = 96, 8
RATE = 3e-3
STAINS = torch.from_numpy(unit_rows([HEMATOXYLIN, EOSIN, (0.27, 0.57, 0.78)])).float()
"""Hematoxylin, eosin, and a third that makes a basis."""


@dataclass(frozen=True)
class Annotated:
    """A tile with the outlines that were drawn on it."""

    image: np.ndarray
    """(y, x, 3) uint8."""
    labels: np.ndarray
    mpp: float

    def at(self, mpp: float) -> np.ndarray:
        """(5, y, x) float32 at a size of pixel: red, green, blue, nucleus, depth."""
        scale = self.mpp / mpp
        shape = tuple(max(round(side * scale), 8) for side in self.labels.shape)
        layers = [*np.moveaxis(self.image / 255, -1, 0), self.labels > 0, depth_of(self.labels)]
        return np.stack([resize(layer.astype(np.float32), shape, order=1, anti_aliasing=scale < 1) for layer in layers])


def depth_of(labels: np.ndarray) -> np.ndarray:
    """Distance to the outline over the greatest in the nucleus."""
    depth = np.zeros(labels.shape, np.float32)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is not None:
            distance = ndimage.distance_transform_edt(np.pad(labels[box] == number, 1))[1:-1, 1:-1]
            depth[box] += distance / distance.max()
    return depth


def read_tiles(folder: Path) -> list[Annotated]:
    tiles = []
    for path in sorted(folder.glob("*_img.png")):
        labels = imread(path.with_name(path.name.replace("_img", "_lab"))).astype(int)
        areas = np.bincount(labels.ravel())[1:]
        diameter = 2 * np.sqrt(np.median(areas[areas > 0]) / np.pi)
        tiles.append(Annotated(imread(path)[..., :3], labels, float(np.clip(NUCLEUS_UM / diameter, *MPP_RANGE))))
    return tiles


def objects_on(tile: Annotated, detect: Detect) -> np.ndarray:
    """Labels of what is found, in the tile's own pixels."""
    image = np.rint(tile.at(by_stain.MPP)[:3] * 255).astype(np.uint8)
    height, width = image.shape[1:]
    rest = [(MIRRORED_PX, MIRRORED_PX + -side % by_stain.STRIDE) for side in (height, width)]
    basins = split_mask(*detect(np.pad(image, [(0, 0), *rest], mode="symmetric")), (0, 0))
    areas = np.bincount(basins.labels.ravel(), minlength=len(basins.seeds_yx) + 1)[1:]
    labels = basins.keep(areas >= LEAST_PX).labels[MIRRORED_PX:, MIRRORED_PX:][:height, :width]
    pairs = zip(tile.labels.shape, labels.shape, strict=True)
    rows, columns = (np.minimum((np.arange(to) + 0.5) * of / to, of - 1).astype(int) for to, of in pairs)
    return labels[np.ix_(rows, columns)]


def count_matches(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Nuclei that were found, found objects, nuclei there are."""
    shared = np.zeros((true.max() + 1, found.max() + 1))
    np.add.at(shared, (true.ravel(), found.ravel()), 1)
    both, of_true, of_found = shared[1:, 1:], shared.sum(1)[1:, None], shared.sum(0)[None, 1:]
    union = np.maximum(of_true + of_found - both, 1)
    return np.array([(both / union > 0.5).sum(), (of_found > 0).sum(), (of_true > 0).sum()])


def f1(tiles: list[Annotated], detect: Detect) -> float:
    matched, found, true = sum(count_matches(objects_on(tile, detect), tile.labels) for tile in tiles)
    return float(2 * matched / (found + true))


def otsu(rgb_cyx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One threshold, split by distance."""
    stain = by_stain.blur(by_stain.nuclear_stain(rgb_cyx), 1.0)
    return split_by_distance(stain > threshold_otsu(stain))


def local_threshold(rgb_cyx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ours without its height: split by distance."""
    return split_by_distance(by_stain.stained_mask(by_stain.nuclear_stain(rgb_cyx)))


def split_by_distance(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mask, by_stain.blur(ndimage.distance_transform_edt(mask).astype(np.float32), 1.5)


def train(tiles: list[Annotated], steps: int, seed: int) -> NucleusNet:
    """Nucleus or not, and depth, on crops that are turned, scaled and stained at random."""
    torch.manual_seed(seed)
    layers = [torch.from_numpy(tile.at(TRAIN_MPP)) for tile in tiles]
    weights = torch.tensor([float(np.sqrt(np.prod(one.shape[1:]))) for one in layers])
    network = NucleusNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        batch = torch.stack([random_crop(layers[i]) for i in torch.multinomial(weights, BATCH, True)])
        loss = nucleus_loss(network(random_density(batch[:, :3])), batch[:, 3], batch[:, 4])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step}: {loss.item():.3f}", flush=True)
    return network.eval()


def random_crop(layers: Tensor) -> Tensor:
    """A square at any angle and 0.7 to 1.4 times its scale, mirrored or not; beyond the edge, the tile's reflection."""
    angle, side = float(2 * np.pi * torch.rand(())), 1.0 if torch.rand(()) < 0.5 else -1.0
    scale = float(torch.exp((torch.rand(()) - 0.5) * 0.7)) * by_stain.MPP / TRAIN_MPP
    height, width = layers.shape[1:]
    rows, columns = torch.meshgrid(*2 * [torch.arange(CROP_PX) - CROP_PX / 2 + 0.5], indexing="ij")
    cos, sin = np.cos(angle), np.sin(angle)
    x = float(torch.rand(())) * width + scale * (cos * columns * side - sin * rows)
    y = float(torch.rand(())) * height + scale * (sin * columns * side + cos * rows)
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)[None]
    return F.grid_sample(layers[None], grid, padding_mode="reflection", align_corners=False)[0]


def random_density(rgb: Tensor) -> Tensor:
    """(B, 1, y, x) density of red under other stains, lamps, focus and noise; some of another crop's eosin leaks in."""
    count = len(rgb)
    density = -torch.log10(rgb.clamp(1 / 256, 1))
    amounts = torch.einsum("bchw,cs->bshw", density, torch.linalg.inv(STAINS))
    amounts = amounts * torch.exp(jitter(count, 3, 1, 1)) + 0.1 * jitter(count, 3, 1, 1)
    stains = F.normalize(STAINS * torch.exp(0.4 * jitter(count, 3, 3)), dim=2)
    shown = 10 ** -torch.einsum("bshw,bsc->bchw", amounts, stains)
    shown = shown * (0.95 + 0.2 * jitter(count, 1, 1, 1)) * (1 + 0.08 * jitter(count, 3, 1, 1))
    shown = torch.stack([soften(one) if torch.rand(()) < 0.4 else one for one in shown])
    shown = shown + torch.randn(shown.shape) * 0.03 * torch.rand(count, 1, 1, 1)
    density = -torch.log10(shown.clamp(1 / 256, 1))
    leak = 0.25 * torch.rand(count, 1, 1, 1) * density[:, 1:2].roll(1, 0).flip(2)
    return density[:, :1] * torch.exp(0.8 * jitter(count, 1, 1, 1)) + leak


def jitter(*shape: int) -> Tensor:
    return torch.rand(shape) - 0.5


def soften(image: Tensor) -> Tensor:
    sigma = 0.4 + 1.2 * float(torch.rand(()))
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), sigma, axes=(1, 2)))


def nucleus_loss(logits: Tensor, nucleus: Tensor, depth: Tensor) -> Tensor:
    """Cross entropy and Dice of the mask, and cross entropy of the depth above that of the truth itself."""
    share = logits[:, 0].sigmoid()
    overlap = (2 * (share * nucleus).sum((1, 2)) + 50) / (share.sum((1, 2)) + nucleus.sum((1, 2)) + 50)
    floor = torch.special.entr(depth).mean() + torch.special.entr(1 - depth).mean()
    deep = F.binary_cross_entropy_with_logits(logits[:, 1], depth) - floor
    return F.binary_cross_entropy_with_logits(logits[:, 0], nucleus) + 0.5 * (1 - overlap.mean()) + 2 * deep


def fold_of(tiles: list[Annotated], fold: int | None, *, held_out: bool) -> list[Annotated]:
    return [tile for number, tile in enumerate(tiles) if (number % FOLDS == fold) == held_out]


def plain_scores(tiles: list[Annotated]) -> Iterator[str]:
    for name, detect in {"otsu": otsu, "local": local_threshold, "stain": by_stain.detect_nuclei}.items():
        folds = [f1(fold_of(tiles, fold, held_out=True), detect) for fold in range(FOLDS)]
        yield f"{name}: " + ", ".join(f"{score:.3f}" for score in folds) + f"; all {f1(tiles, detect):.3f}"


def trained(tiles: list[Annotated], chosen: argparse.Namespace) -> None:
    network = train(fold_of(tiles, chosen.fold, held_out=False), chosen.steps, chosen.fold or 0)
    safetensors.torch.save_file({name: one.contiguous() for name, one in network.state_dict().items()}, chosen.train)
    if chosen.fold is not None:
        score = f1(fold_of(tiles, chosen.fold, held_out=True), detect_with(fold_norms(network)))
        print(f"network, fold {chosen.fold}: {score:.3f}")


def speed(path: Path, mpp: float, method: str) -> str:
    sdata = ps.io.slide(path, mpp=mpp)
    wall, work = time.perf_counter(), time.process_time()
    found = ps.pp.nuclei(sdata, method=method, inplace=False, progress=False)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    area = np.prod(sdata["he"]["scale0"]["image"].shape[1:]) * mpp**2 / 1e6
    return (
        f"{method}: {len(found):,} nuclei on {area:.1f} mm², {wall:.0f} s, {work:.0f} s of processor: "
        f"{2 * area / work:.2f} mm²/s on two cores"
    )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--train", type=Path, help="train a network, and write its weights here")
    parser.add_argument("--fold", type=int, choices=range(FOLDS), help="leave out, and score on, these tiles")
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--speed", type=Path, help="an image whose nuclei are found")
    parser.add_argument("--mpp", type=float, default=0.5, help="of that image")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    if chosen.speed:
        print(speed(chosen.speed, chosen.mpp, "stain"), speed(chosen.speed, chosen.mpp, "network"), sep="\n")
    elif chosen.train:
        trained(read_tiles(chosen.folder), chosen)
    else:
        print(*plain_scores(read_tiles(chosen.folder)), sep="\n")


if __name__ == "__main__":
    main()
