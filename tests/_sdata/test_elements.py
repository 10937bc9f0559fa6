"""Images are put together with what was measured on them, by coordinate systems or by order."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import spatialdata as sd
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._sdata import build, elements
from pixnet_sd._sdata.affine import is_renamed
from pixnet_sd._sdata.elements import MeasuredKeys, find_sections


def in_system(name: str) -> build.Transformations:
    return build.make_transformations({name: np.eye(3)})


def image(system: str = "global") -> object:
    return build.make_image(np.zeros((3, 8, 8), np.uint8), "rgb", in_system(system))


def spots(system: str = "global") -> object:
    return build.make_circles(np.ones((2, 2)), 1.0, pd.RangeIndex(2), in_system(system))


def counts(shapes: str) -> object:
    return build.make_table(sp.csr_matrix((2, 1)), pd.DataFrame(index=["A"]), shapes, pd.RangeIndex(2))


def section(*systems: str) -> SpatialData:
    """For each system, an image, spots and a table."""
    parts = {f"he{n}": image(name) for n, name in enumerate(systems)}
    parts |= {f"spots{n}": spots(name) for n, name in enumerate(systems)}
    return SpatialData.init_from_elements({**parts, **{f"t{n}": counts(f"spots{n}") for n in range(len(systems))}})


def two_regions() -> SpatialData:
    rows = pd.DataFrame({"region": pd.Categorical(["large", "small"]), "instance_id": [0, 0]}, index=["a", "b"])
    table = sd.models.TableModel.parse(
        AnnData(sp.csr_matrix((2, 1)), obs=rows),
        region=["large", "small"],
        region_key="region",
        instance_key="instance_id",
    )
    return SpatialData.init_from_elements({"he": image(), "large": spots(), "small": spots(), "t": table})


def pairs(sdata: SpatialData, *keys: object) -> dict[str, list[tuple[str, str]]]:
    found = find_sections(sdata, *keys)  # type: ignore[arg-type]
    return {one.image: [(pair.shapes, pair.table) for pair in one.measured] for one in found}


def test_a_table_of_two_regions_is_told_which() -> None:
    sdata = two_regions()
    with pytest.raises(PixnetKeyError, match=r"there are 2: 'large', 'small' .*Pass shapes_key"):
        find_sections(sdata)
    assert pairs(sdata, None, "small") == pairs(sdata, "he", "small", "t") == {"he": [("small", "t")]}
    assert pairs(sdata, None, ["small", "large"]) == {"he": [("small", "t"), ("large", "t")]}


def test_sections_of_one_object_are_told_apart_by_their_systems() -> None:
    sdata = section("a", "b")
    both = {"he0": [("spots0", "t0")], "he1": [("spots1", "t1")]}
    assert pairs(sdata) == pairs(sdata, ["he0", "he1"]) == pairs(sdata, None, ["spots1", "spots0"]) == both
    assert (
        pairs(sdata, "he1")
        == pairs(sdata, None, "spots1")
        == pairs(sdata, None, None, "t1")
        == {"he1": [("spots1", "t1")]}
    )


def test_in_one_system_as_many_images_as_shapes_are_taken_in_order() -> None:
    sdata = section("global", "global")
    with pytest.raises(PixnetKeyError, match=r"images under the shapes 'spots0'.*Pass image_key"):
        find_sections(sdata, None, "spots0")
    assert pairs(sdata, ["he1", "he0"], ["spots1", "spots0"]) == {
        "he1": [("spots1", "t1")],
        "he0": [("spots0", "t0")],
    }
    assert pairs(sdata, "he0", ["spots0", "spots1"]) == {"he0": [("spots0", "t0"), ("spots1", "t1")]}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("he0", "spots1"), r"shapes 'spots1'.*do not"),
        (("he0", None, "t1"), r"the shapes of table 't1'"),
        ((["he0", "he1"], "spots0"), r"image 'he1'"),
        ((None, "spots0", ["t0", "t1"]), r"Table 't1' annotates \['spots1'\], none of the shapes \['spots0'\]"),
        ((None, "spots0", "t1"), r"0 of the tables \['t1'\] annotate the shapes 'spots0'"),
        ((None, "spot0"), "Did you mean 'spots0'"),
        ((None, None, "t"), "is not among the tables"),
        (("he",), "is not among the images"),
        (([],), "image_key is empty"),
        ((None, ["spots0", "spots0"]), "shapes_key=.* more than once"),
    ],
)
def test_what_does_not_fit_together_is_named(keys: tuple[object, ...], words: str) -> None:
    with pytest.raises((PixnetKeyError, PixnetValueError), match=words):
        find_sections(section("a", "b"), *keys)  # type: ignore[arg-type]


def test_nothing_measured() -> None:
    with pytest.raises(PixnetKeyError, match="No table_key was given, and there are none"):
        find_sections(SpatialData.init_from_elements({"he": image(), "spots": spots()}))
    apart = SpatialData.init_from_elements({"he": image("a"), "spots": spots("b"), "t": counts("spots")})
    with pytest.raises(PixnetValueError, match="must share a coordinate system"):
        find_sections(apart)


def test_of_the_images_of_visium_the_finest_is_read() -> None:
    parts = {f"v_{size}_image": image() for size in ("lowres", "hires", "full")}
    sdata = SpatialData.init_from_elements({**parts, "v": spots(), "table": counts("v")})
    assert elements.find_image_key(sdata) == "v_full_image"
    del sdata.images["v_full_image"]
    assert find_sections(sdata)[0].image == "v_hires_image"
    assert find_sections(sdata)[0].measured == (MeasuredKeys("v", "table"),)
    assert elements.find_image_key(sdata, "v_lowres_image") == "v_lowres_image"
    sdata["other_lowres_image"] = image()
    with pytest.raises(PixnetKeyError, match="there are 2"):
        elements.find_image_key(sdata)


def test_a_suffix_may_have_been_added_twice() -> None:
    assert all(is_renamed(f"um{end}", "um", "he-a") for end in ("-a", "-a-a"))
    assert not any(is_renamed(f"um{end}", "um", "he-a") for end in ("-b", "-a-b", "a", ""))
