"""When does an image look like none that a model learnt from? The rule of `tl.predict`'s warning, measured.

Patches of held-out sections, of other tissue, and of spoiled copies of a section, and the share of them that is strange
to what was learnt from her2st C2 to C5. Needs PIXNET_SD_DATA_DIR.

    python -m benchmarks.stain_domain
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import dask.array as da
import numpy as np
import pandas as pd
from benchmarks.accuracy.data import read_mob
from scipy.ndimage import gaussian_filter
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._raster.picture import Picture
from pixnet_sd._settings import logger
from pixnet_sd.nn.model import domain
from pixnet_sd.nn.model.domain import StainDomain, read_patches, sample_places
from pixnet_sd.nn.slides import Slide
from pixnet_sd.tl._slides import ReadOptions, read_slide

SECTIONS = ("C2", "C3", "C4", "C5")
MPP = 0.7


def slide_of(section: SpatialData, table_key: str = "spots_counts", mpp: float = MPP) -> Slide:
    genes = list(section[table_key].var_names[:1])
    return read_slide(section, "he", ReadOptions("he", [table_key], None, genes, mpp, None, True))


def learn(slides: Sequence[Slide]) -> StainDomain:
    found = domain.learn_domain(slides)
    assert found is not None
    return found


def share(known: StainDomain, slide: Slide, picture: Picture | None = None, scale: float = 1.0) -> float:
    return known.outlier_share(read_patches(picture or slide.picture, sample_places(slide) / scale))


def spoiled(slide: Slide) -> Iterator[tuple[str, Picture, float]]:
    """Copies with one fault each, and by how much places shrink."""
    picture = slide.picture
    pixels = picture.data.compute()
    faults = {
        "gray": np.repeat(pixels.mean(0, keepdims=True), 3, axis=0),
        "blue and red exchanged": pixels[::-1],
        "inverted": 255 - pixels,
        "blurred, sigma 2 px": np.stack([gaussian_filter(channel, 2) for channel in pixels]),
        "densities x 0.7": 255 * (pixels / 255) ** 0.7,
        "densities x 1.5": 255 * (pixels / 255) ** 1.5,
    }
    for name, values in faults.items():
        yield name, replace(picture, data=da.from_array(values.astype(np.uint8), chunks=(3, 512, 512))), 1.0
    for factor in (0.5, 0.7, 1.5, 2.0):
        sx, sy = picture.step
        yield f"µm per pixel wrong by {factor:g}", replace(picture, step=(sx * factor, sy * factor)), factor


def measured(slides: dict[str, Slide]) -> Iterator[tuple[str, float]]:
    for name, slide in slides.items():
        others = [other for other in slides.values() if other is not slide]
        yield f"{name}, learnt from the three others", share(learn(others), slide)
        yield f"{name}, learnt from one, at worst", max(share(learn([other]), slide) for other in others)
    known = learn(list(slides.values()))
    for name in ("MOB1", "MOB2", "MOB3"):
        yield f"{name}, mouse olfactory bulb", share(known, slide_of(read_mob(name)))
    yield "synthetic tissue", share(known, slide_of(ps.datasets.toy(), "bins_8um_counts"))
    for name, picture, scale in spoiled(slides["C4"]):
        yield f"C4, {name}", share(known, slides["C4"], picture, scale)


def main() -> None:
    ps.settings.progress = False
    logger.setLevel(logging.WARNING)
    slides = {name: slide_of(ps.datasets.her2st(name)) for name in SECTIONS}
    print(pd.DataFrame(measured(slides), columns=["image", "strange patches"]).round(2).to_markdown(index=False))


if __name__ == "__main__":
    main()
