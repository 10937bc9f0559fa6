"""Which made artifacts `pp.quality` finds on real H&E, and what it takes for one where none was made.

    python -m benchmarks.quality DATA

DATA holds `her2st` as `ps.datasets.her2st` keeps it, and `wsi_he` with scans; what is not there is left out. Artifacts
are made on every fourth stripe of eight tiles; recall is the share of its tiles that are given the name, false alarms
the share of the others.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import ndimage
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._raster.stain import from_density, optical_density
from pixnet_sd._sdata import build, images, units

TILE_UM = 64.0
PENS = {"blue": (1.5, 0.7, 0.2), "green": (0.9, 0.35, 0.7), "red": (0.1, 0.9, 0.95), "black": (1.5, 1.5, 1.5)}
"""Optical density of inks in red, green and blue light."""
FOLD_UM = 60.0
Spoil = Callable[[np.ndarray, float], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    os.environ["PIXNET_SD_DATA_DIR"] = str(asked.data)
    for name, section, whole in sections(asked.data):
        mpp, pixels = units.image_mpp(section, "he"), images.read_rgb(section, "he").data.compute()
        untouched = judge(pixels, mpp)
        counts = untouched.obs["artifact"].value_counts(normalize=True)
        print(f"{name:26} {untouched.n_obs:6,} tiles untouched", *(f"{k} {v:.1%}" for k, v in counts.items()))
        for fault, (kind, spoil) in {} if whole else faults().items():
            print(f"{name:26} {fault:14}", *score(pixels, mpp, untouched, kind, spoil), flush=True)


def sections(data: Path) -> Iterator[tuple[str, SpatialData, bool]]:
    """Yield name, section, and whether it is only looked at as it is."""
    yield "breast (her2st C5, crop)", ps.datasets.breast(), False
    for file in ("CMU-1-Small-Region.svs", "instanseg_HE_example.tif"):
        if (data / "wsi_he" / file).exists():
            yield file, ps.io.slide(data / "wsi_he" / file), False
    for name in ("C2", "C3", "C4", "C5"):
        if (data / "her2st" / "images" / f"{name}.jpg").exists():
            yield f"her2st {name}", ps.datasets.her2st(name), True


def judge(pixels: np.ndarray, mpp: float) -> AnnData:
    systems = build.make_transformations({"global": np.eye(3)})
    section = build.make_section({"he": build.make_image(pixels, "rgb", systems)}, {}, {"he": mpp})
    return ps.pp.quality(section, tile_um=TILE_UM, inplace=False, progress=False)


def faults() -> dict[str, tuple[str, Spoil]]:
    blurs = {f"blur {sigma} px": ("blurred", make_blur(sigma)) for sigma in (2, 4, 8)}
    pens = {f"pen {name}": ("gray" if name == "black" else "pen", make_pen(ink)) for name, ink in PENS.items()}
    folds = {f"fold of {layers}": ("fold", make_fold(layers)) for layers in (2, 3)}
    return blurs | pens | folds


def make_blur(sigma_px: float) -> Spoil:
    return lambda pixels, mpp: np.stack([ndimage.gaussian_filter(channel, sigma_px) for channel in pixels])


def make_pen(ink: tuple[float, float, float]) -> Spoil:
    return lambda pixels, mpp: from_density(optical_density(pixels) + np.array(ink)[:, None, None])


def make_fold(layers: int) -> Spoil:
    """Lay the tissue beside a place onto it, once or twice."""

    def spoil(pixels: np.ndarray, mpp: float) -> np.ndarray:
        density, shift = optical_density(pixels), round(FOLD_UM / mpp)
        return from_density(sum(np.roll(density, k * shift, (1, 2)) for k in range(layers)))

    return spoil


def score(pixels: np.ndarray, mpp: float, untouched: AnnData, kind: str, spoil: Spoil) -> list[str]:
    """Compute recall where the artifact was made, false alarms elsewhere, and tiles whose tissue is not found now."""
    columns = np.arange(pixels.shape[2]) * mpp // (8 * TILE_UM) % 4 == 1
    spoiled = np.where(columns, spoil(pixels, mpp), pixels)
    found = judge(spoiled, mpp).obs.set_index(["array_row", "array_col"])["artifact"]
    before = untouched.obs.set_index(["array_row", "array_col"])["artifact"]
    made = pd.Series(before.index.get_level_values("array_col") // 8 % 4 == 1, before.index)
    given = found.reindex(before.index)
    caught, alarms = (given[made] == kind).mean(), (given[~made] == kind).mean()
    any_kind = (given[made].notna() & (given[made] != "none")).mean()
    return [
        f"recall {caught:6.1%}",
        f"as any artifact or no tissue {any_kind + given[made].isna().mean():6.1%}",
        f"false alarms beside it {alarms:6.1%}",
        f"{made.sum()} tiles",
    ]


if __name__ == "__main__":
    main()
