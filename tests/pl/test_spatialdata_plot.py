"""A predicted map is an ordinary image element: spatialdata-plot draws it without us."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import spatialdata as sd
import tiny
from spatialdata import SpatialData
from spatialdata.models import Image2DModel

import pixnet_sd as ps

GENE = "COL1A1"


@pytest.fixture
def predicted(toy: SpatialData) -> SpatialData:
    model = tiny.model([GENE, "KRT8", "CD3E"])
    ps.tl.predict(toy, model=model, genes=[GENE], progress=False)
    return toy


def drawn(sdata: SpatialData, key: str = "he_expression") -> tuple[np.ndarray, np.ndarray]:
    """The values (y, x) that spatialdata-plot draws, and where (x, y) the ends of their diagonal lie on the H&E."""
    import spatialdata_plot  # noqa: F401  registers sdata.pl

    ax = plt.figure().add_subplot()
    sdata.pl.render_images(key, channel=GENE, cmap="gray").pl.show("global", ax=ax, colorbar=False)
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    ends = (image.get_transform() - ax.transData).transform([(left, top), (right, bottom)])
    return np.asarray(image.get_array()), ends


def test_the_map_is_drawn_in_its_place_also_from_a_store(predicted: SpatialData, tmp_path: Path) -> None:
    predicted.write(tmp_path / "s.zarr")
    for sdata in (predicted, sd.read_zarr(tmp_path / "s.zarr")):
        values, ends = drawn(sdata)
        np.testing.assert_array_equal(values, sdata["he_expression"].sel(c=GENE))
        # It puts the center of the first pixel at 0, half a pixel (2 px of the H&E) off our convention.
        np.testing.assert_allclose(ends, [[0, 0], [512, 512]], atol=2.01)


def test_pixels_without_a_value_are_drawn_once_they_are_filled(toy: SpatialData) -> None:
    """As the how-to does it, for a map of one level and for one of several."""
    mask = ps.pp.tissue(toy, "he", inplace=False)
    mask[:, :16] = 0
    toy["he_tissue"] = mask
    ps.tl.predict(toy, "he", model=tiny.model([GENE, "KRT8", "CD3E"]), progress=False)
    one = toy["he_expression"]
    several = Image2DModel.parse(one, c_coords=[GENE, "KRT8", "CD3E"], scale_factors=[2])
    for genes in (one, sd.get_pyramid_levels(several, n=0)):
        toy["he_filled"] = genes.sel(c=[GENE]).fillna(0)
        values, _ = drawn(toy, "he_filled")
        assert (values[:, :64] == 0).all()
        np.testing.assert_array_equal(values[:, 64:], one.sel(c=GENE)[:, 64:])
