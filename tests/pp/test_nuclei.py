"""`pp.nuclei` gives nuclei at their places and sizes, whatever the image's pixels."""

from typing import Any

import numpy as np
import pytest
import shapely
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._raster.stain import compose_rgb
from pixnet_sd._sdata import affine, build
from pixnet_sd._sdata.provenance import get_record

PITCH_UM, RADIUS_UM = 30.0, 4.0


def slide(mpp: float, place: np.ndarray | None = None, side_um: float = 150.0) -> SpatialData:
    """Nuclei of 8 µm on a lattice of 30 µm, 25 of them."""
    rows, columns = (np.mgrid[: round(side_um / mpp), : round(side_um / mpp)] + 0.5) * mpp
    near = (rows % PITCH_UM - 15) ** 2 + (columns % PITCH_UM - 15) ** 2 < RADIUS_UM**2
    image = compose_rgb(0.6 * near, np.full(near.shape, 0.3))
    systems = build.make_transformations({"global": np.eye(3) if place is None else place})
    return build.make_section({"he": build.make_image(image, "rgb", systems)}, {}, {"he": mpp})


@pytest.mark.parametrize(("mpp", "method"), [(0.25, "stain"), (0.69, "stain"), (0.69, "network")])
def test_nuclei_lie_where_they_are(mpp: float, method: Any) -> None:
    sdata = slide(mpp)
    ps.pp.nuclei(sdata, method=method, progress=False)
    found = sdata["nuclei"]
    assert found.index.tolist() == list(range(25))
    centers = np.column_stack([found.geometry.centroid.x, found.geometry.centroid.y]) * mpp
    np.testing.assert_allclose(centers % PITCH_UM, 15, atol=0.5)
    np.testing.assert_allclose(np.sqrt(found["area_um2"] / np.pi), RADIUS_UM, atol=0.8)
    np.testing.assert_allclose(found["area_um2"], found.geometry.area * mpp**2)
    assert (get_record(sdata, "nuclei") or {})["kind"] == "nuclei"


def test_they_carry_the_transformations_of_the_image() -> None:
    turned = np.array([[0.0, -2.0, 500.0], [2.0, 0.0, 7.0], [0.0, 0.0, 1.0]])
    sdata = slide(0.5, turned)
    ps.pp.nuclei(sdata, progress=False)
    np.testing.assert_allclose(affine.to_matrix(affine.get_transformations(sdata["nuclei"])["global"]), turned)


def test_cells_reach_as_far_as_asked_and_share_borders() -> None:
    sdata = slide(0.5)
    ps.pp.nuclei(sdata, expand_um=5, progress=False)
    np.testing.assert_allclose(np.sqrt(sdata["cells"]["area_um2"] / np.pi), RADIUS_UM + 5, atol=0.7)
    crowded = ps.pp.nuclei(sdata, expand_um=20, inplace=False, progress=False).geometry.to_numpy()
    assert shapely.area(shapely.union_all(crowded)) == pytest.approx(shapely.area(crowded).sum())
    assert shapely.area(crowded).max() <= (PITCH_UM / 0.5 + 1) ** 2


def test_nuclei_off_the_tissue_are_left_out() -> None:
    sdata = slide(0.5)
    marked = np.zeros((300, 300), np.uint8)
    marked[:, 150:] = 1
    sdata["he_tissue"] = build.make_labels(marked, affine.get_transformations(sdata["he"]))
    ps.pp.nuclei(sdata, progress=False)
    assert 10 <= len(sdata["nuclei"]) <= 15
    assert sdata["nuclei"].geometry.centroid.x.min() > 140
    with pytest.raises(PixnetKeyError, match="not among the labels"):
        ps.pp.nuclei(sdata, tissue_key="nowhere", overwrite=True)


def test_existing_shapes_are_kept_unless_overwritten() -> None:
    sdata = slide(0.5)
    ps.pp.nuclei(sdata, progress=False)
    with pytest.raises(PixnetKeyError, match="overwrite=True"):
        ps.pp.nuclei(sdata)
    ps.pp.nuclei(sdata, overwrite=True, progress=False)


def test_what_cannot_be_is_refused() -> None:
    sdata = slide(0.5)
    with pytest.raises(PixnetValueError, match="No nuclei were found"):
        ps.pp.nuclei(sdata, min_area_um2=200, progress=False)
    with pytest.raises(PixnetValueError, match="method must be"):
        ps.pp.nuclei(sdata, method="magic")  # type: ignore[call-overload]
    with pytest.raises(PixnetValueError, match="expand_um"):
        ps.pp.nuclei(sdata, expand_um=-1)
    with pytest.raises(PixnetValueError, match="min_area_um2"):
        ps.pp.nuclei(sdata, min_area_um2=float("nan"))
    coarse = slide(0.5)
    coarse.attrs.clear()
    ps.pp.mpp(coarse, mpp=1.5)
    with pytest.raises(PixnetValueError, match="told apart"):
        ps.pp.nuclei(coarse)


def test_genes_are_pooled_over_nuclei(toy: SpatialData) -> None:
    ps.pp.nuclei(toy, progress=False)
    ps.tl.aggregate(toy, "nuclei", raster_key="truth")
    assert len(toy["nuclei_expression"]) == len(toy["nuclei"]) > 100
