"""A painted slide whose counts follow what is visible on it."""

from collections.abc import Callable

import dask.array as da
import numpy as np
import scipy.sparse as sp

from pixnet_sd._raster.picture import Picture
from pixnet_sd._zonal.shapes import from_circles
from pixnet_sd.nn.slides import MeasuredSet, Slide


def silent(total: int, text: str) -> Callable[..., object]:
    return lambda steps, postfix="": None


def slide(seed: int, depth: float = 1.0) -> Slide:
    """Purple and pink areas on 256 px; counts of three genes follow the redness under each spot, of one nothing."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 1, (8, 8)).repeat(32, 0).repeat(32, 1)
    image = np.stack([230 - 120 * coarse, 120 + 40 * coarse, 180 + 20 * coarse]) + random.normal(0, 4, (3, 256, 256))
    picture = Picture(da.from_array(image.clip(0, 255).astype(np.uint8), chunks=(3, 128, 128)))
    centers = np.indices((10, 10)).reshape(2, -1).T * 24.0 + 20
    level = coarse[centers[:, 1].astype(int), centers[:, 0].astype(int)]
    rates = depth * np.column_stack([20 + 60 * level, 80 - 60 * level, 5 + 40 * level**2, np.full(100, 30)])
    counts = random.poisson(rates)
    measured = MeasuredSet(from_circles(centers, 8.0, np.eye(3)), sp.csr_array(counts), np.full(100, 1000.0 * depth))
    return Slide(f"slide {seed}", picture, 0.5, (measured,))
