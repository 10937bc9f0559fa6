"""What is seen around each spot, computed once for each section: crops, the encoder's features of them, color.

A look is a square field around the spot's middle, brought to a fixed number of pixels, so that it means the same µm on
every picture. Features are the encoder's five maps side by side on a lattice of 7 x 7 cells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm.auto import tqdm

from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.stain import separate_stains
from pixnet_sd._sdata import images, units
from pixnet_sd.nn.inference.tiling import to_unit
from pixnet_sd.nn.network.views import VIEWS, apply_view

from .data import SPOT_UM, encoder_weights
from .protocol import Study
from .results import write_arrays

ENCODER = "tf_efficientnet_lite0"
BATCH = 32
CELLS = 7
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Look:
    """How a crop is cut and encoded."""

    field_um: float = 112.0
    """Side of the square."""
    side_px: int = 224
    """The same in pixels of the encoder's input."""
    weights: int | None = None
    """The seed of random weights; None for those of ImageNet."""
    view: int = 0
    """How the section lies: a number in `VIEWS`."""

    def __str__(self) -> str:
        return (
            f"{self.field_um:.0f}um-{self.side_px}px-{'imagenet' if self.weights is None else self.weights}{self.lies}"
        )

    @property
    def lies(self) -> str:
        return f"-view{self.view}" if self.view else ""


SPOT, NEAR, FAR = Look(), Look(300.0, 112), Look(600.0, 112)
"""A spot as HEST crops it, and two wide fields, as wide as what ours is given and, to save time, at fewer pixels."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of each spot of a section."""

    cells: np.ndarray
    """(spots, rows, columns, D)."""
    seconds: float
    """What computing it took."""

    @property
    def whole(self) -> np.ndarray:
        """(spots, D): the mean over a spot's cells."""
        return self.cells.mean(axis=(1, 2))


@lru_cache(maxsize=64)
def encoded(study: Study, section: str, look: Look) -> Seen:
    return kept(study, section, str(look), lambda: encode(crops(study, section, look), look))


@lru_cache(maxsize=8)
def color(study: Study, section: str) -> Seen:
    return kept(study, section, "color", lambda: colors(study, section))


def kept(study: Study, section: str, name: str, work: Callable[[], np.ndarray]) -> Seen:
    """From the folder, or computed and put there."""
    path = study.folder / "features" / study.data / f"{section}-{name}.npz"
    if not path.exists():
        study.section(section)
        start = time.perf_counter()
        cells = work()
        write_arrays(path, cells=cells, seconds=np.array(time.perf_counter() - start))
    with np.load(path) as stored:
        return Seen(stored["cells"], float(stored["seconds"]))


def crops(study: Study, section: str, look: Look) -> Iterator[np.ndarray]:
    """Each spot's uint8 crop (3, side, side); white beyond the picture."""
    found = study.section(section)
    mpp, wanted = units.image_mpp(found.sdata, "he"), look.field_um / look.side_px
    picture, step = images.at_step(images.read_rgb(found.sdata, "he"), wanted / mpp)
    picture = replace(picture, data=picture.data.persist())  # a coarse level would be made again for every crop
    corners = np.rint(found.centers_um / mpp / step - look.side_px / 2).astype(int)
    for x0, y0 in tqdm(corners, f"{section} {look}", unit="spot", leave=False):
        crop = picture.read(Window(y0, x0, y0 + look.side_px, x0 + look.side_px))
        yield seen_as(crop, *VIEWS[look.view])


def seen_as(crop: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    return apply_view(torch.from_numpy(crop), turns, mirror).numpy()


def build_encoder(weights: int | None = None) -> Any:
    """timm's classifier without its classes."""
    torch.manual_seed(weights or 0)
    model = timm.create_model(ENCODER, pretrained=False, num_classes=0)
    if weights is None:
        state = load_file(encoder_weights())
        model.load_state_dict({key: value for key, value in state.items() if not key.startswith("classifier")})
    return model.eval()


def normalized(crops_uint8: np.ndarray) -> Tensor:
    """(B, 3, H, W) as the encoder takes them: from -1 to 1."""
    return to_unit(crops_uint8, "cpu") * 2 - 1


@torch.inference_mode()
def encode(pictures: Iterator[np.ndarray], look: Look) -> np.ndarray:
    """(spots, 7, 7, D): all maps, brought to the lattice by means. On training sections better than the last layer."""
    encoder, cells = build_encoder(look.weights), []
    for batch in batches(pictures):
        maps = encoder.forward_intermediates(normalized(batch), intermediates_only=True)
        joined = torch.cat([F.adaptive_avg_pool2d(one, CELLS) for one in maps], dim=1)
        cells.append(joined.permute(0, 2, 3, 1).numpy())
    return np.concatenate(cells)


def batches(pictures: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    batch = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def colors(study: Study, section: str) -> np.ndarray:
    """(spots, 1, 1, D): mean, SD and quantiles of red, green, blue, hematoxylin and eosin in each disc, at 1 µm/px."""
    side = int(SPOT_UM)
    middle = np.arange(side) + 0.5 - side / 2
    inside = np.hypot(middle[:, None], middle) <= SPOT_UM / 2
    rows = [statistics(crop, inside) for crop in crops(study, section, Look(SPOT_UM, side))]
    return np.stack(rows)[:, None, None]


def statistics(crop: np.ndarray, inside: np.ndarray) -> np.ndarray:
    pixels = np.concatenate([crop[:, inside] / 255, separate_stains(crop)[:, inside]])
    return np.concatenate([pixels.mean(1), pixels.std(1), *np.quantile(pixels, QUANTILES, axis=1)])
