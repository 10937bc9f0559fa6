"""Laws that hold for any input: places, tiles, ids, and a store through any sequence of calls."""

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import spatialdata as sd
from files import digests
from hardening.profiles import PROFILE, UNSHRUNK, times
from hardening.slides import COUNTS, aggregate, discs, measured, picture, predict, section, squares, tiny_model
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from precision import assert_close
from spatialdata import SpatialData
from spatialdata.transformations import Affine, Scale, Sequence, Translation

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError
from pixnet_sd._sdata import build
from pixnet_sd._sdata.comparison import read_pair

AXES = ("x", "y")
ONES = np.ones((1, 48, 64))
away_from_zero = st.floats(0.2, 3) | st.floats(-3, -0.2)
scales = st.builds(lambda x, y: Scale([x, y], AXES), away_from_zero, away_from_zero)
shifts = st.builds(lambda x, y: Translation([x, y], AXES), st.floats(-50, 50), st.floats(-50, 50))
linear = st.tuples(away_from_zero, st.floats(-2, 2), st.floats(-2, 2), away_from_zero)
affines = linear.filter(lambda m: abs(m[0] * m[3] - m[1] * m[2]) > 0.05).map(
    lambda m: Affine(np.array([[m[0], m[1], 3.0], [m[2], m[3], -4.0], [0, 0, 1]]), AXES, AXES)
)
chains = st.lists(scales | shifts | affines, min_size=1, max_size=4).map(Sequence)


def moved_back(shape: Any, matrix: np.ndarray) -> Any:
    inverse = np.linalg.inv(matrix)
    return shapely.transform(shape, lambda xy: xy @ inverse[:2, :2].T + inverse[:2, 2])


@times(2)
@given(chains, chains)
def test_area_is_kept_through_any_chain_of_affines(of_image: Sequence, of_shapes: Sequence) -> None:
    """A square of the raster, given in a coordinate system of its own, covers in the raster what it covers there."""
    image_matrix, shapes_matrix = (chain.to_affine_matrix(AXES, AXES) for chain in (of_image, of_shapes))
    assume(np.linalg.cond(image_matrix[:2, :2]) < 1e3 and np.linalg.cond(shapes_matrix[:2, :2]) < 1e3)
    wanted = [shapely.box(3, 4, 9.5, 8.25), shapely.Polygon([(10, 10), (30, 12), (15, 33)])]
    own = [moved_back(moved_back(shape, np.linalg.inv(image_matrix)), shapes_matrix) for shape in wanted]
    sdata = section(
        he=picture(ONES, "g", systems={"global": of_image}), cells=squares(own, systems={"global": of_shapes})
    )
    weights = ps.tl.coverage(sdata, "cells", "he")
    np.testing.assert_allclose(weights.sum(axis=1), [shape.area for shape in wanted], rtol=1e-5)
    centers = aggregate(sdata, statistic="mean").obsm["spatial"] / 0.5
    np.testing.assert_allclose(centers, [shape.centroid.coords[0] for shape in wanted], atol=1e-4)


@PROFILE
@given(chains)
def test_a_circle_keeps_the_area_of_the_ellipse_it_becomes(chain: Sequence) -> None:
    matrix = chain.to_affine_matrix(AXES, AXES)
    assume(np.linalg.cond(matrix[:2, :2]) < 30)
    radius = float(5 / np.linalg.norm(matrix[:2, :2], 2))
    center = (np.linalg.inv(matrix) @ [30, 24, 1])[:2]
    frame = discs([radius], [center], {"global": chain})
    weights = ps.tl.coverage(section(he=picture(ONES, "g"), cells=frame), "cells", "he")
    expected = np.pi * radius**2 * abs(np.linalg.det(matrix))
    np.testing.assert_allclose(weights.sum(), expected, rtol=1e-6)


@PROFILE
@given(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=9, unique=True), st.booleans(), st.randoms())
def test_tables_find_their_shapes_in_any_order(ids: list[int], as_text: bool, random: Any) -> None:
    """Numbers or strings; each row keeps its own counts, and another type matches nothing."""
    names = [str(one) for one in ids] if as_text else ids
    rows = random.sample(names, len(names))
    value = {name: float(place) for place, name in enumerate(names)}
    shapes = squares([shapely.box(n, 0, n + 1, 1) for n in range(len(names))], names)
    genes = pd.DataFrame(index=["G"])
    tables = {
        "measured": build.make_table(np.array([[value[name]] for name in rows]), genes, "cells", pd.Index(rows)),
        "predicted": build.make_table(np.array([[value[name]] for name in names]), genes, "cells", pd.Index(names)),
    }
    sdata = build.make_section({"cells": shapes, **tables}, {}, {})
    pair = read_pair(sdata, "predicted", "measured")
    np.testing.assert_array_equal(pair.counts.toarray(), pair.predicted)
    assert (len(pair.totals), pair.rows_unmatched) == (len(names), 0)
    other = [int(name) for name in rows] if as_text else [str(name) for name in rows]
    sdata["measured"].obs["instance_id"] = other
    with pytest.raises(PixnetError, match="types the same"):
        read_pair(sdata, "predicted", "measured")


@PROFILE
@given(st.permutations(range(2)), st.permutations(range(3)))
def test_the_order_of_rows_and_genes_does_not_matter_for_scores(rows: list[int], genes: list[int]) -> None:
    sdata = measured()
    table = sdata["counts"][rows, genes].copy()
    table.uns["pixnet_sd"] = {"unit": "counts"}
    sdata["predicted"] = table
    pair = read_pair(sdata, "predicted", "counts")
    np.testing.assert_array_equal(pair.predicted, pair.counts.toarray())
    assert pair.counts.sum() == COUNTS.sum()


class Store(RuleBasedStateMachine):
    """Any sequence of calls on a store: it opens, what was there keeps its bytes, results are fresh ones."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "s.zarr"
        self.map_seed: int | None = None
        self.waiting: tuple[int, int] | None = None
        self.table_seed: int | None = None

    @initialize()
    def write(self) -> None:
        section(cells=squares()).write(self.path)
        self.before = {name: digests(self.path / name) for name in ("images/he", "shapes/cells")}
        self.reload()

    @rule()
    def reload(self) -> None:
        self.sdata = sd.read_zarr(self.path)

    @rule(seed=st.integers(0, 1), tile_size=st.sampled_from([16, 32, 64]), overwrite=st.booleans())
    def predict(self, seed: int, tile_size: int, overwrite: bool) -> None:
        options: dict = {"model": tiny_model(seed), "tile_size": tile_size, "overwrite": overwrite}
        if self.map_seed is not None and not overwrite:
            with pytest.raises(PixnetError, match="overwrite=True"):
                predict(self.sdata, "he", **options)
            return
        if self.waiting not in (None, (seed, tile_size)):
            with pytest.raises(PixnetError, match="resume=False"):
                predict(self.sdata, "he", **options)
            options["resume"] = False
        predict(self.sdata, "he", **options)
        self.map_seed, self.waiting = seed, None

    @precondition(lambda self: self.waiting is None)
    @rule(seed=st.integers(0, 1), tiles=st.integers(0, 3))
    def interrupt(self, seed: int, tiles: int) -> None:
        """Ctrl-C after some tiles: what is there stays, and what is done waits beside it."""
        model, runs = tiny_model(seed), itertools.count()

        def stop(*_: object) -> None:
            if next(runs) >= tiles:
                raise KeyboardInterrupt

        model.network.register_forward_hook(stop)
        with pytest.raises(KeyboardInterrupt):
            predict(self.sdata, "he", model=model, tile_size=16, overwrite=True)
        self.waiting = seed, 16

    @precondition(lambda self: self.map_seed is not None)
    @rule(overwrite=st.booleans())
    def aggregate(self, overwrite: bool) -> None:
        if self.table_seed is not None and not overwrite:
            with pytest.raises(PixnetError, match="overwrite=True"):
                aggregate(self.sdata, "cells", inplace=True)
            return
        aggregate(self.sdata, "cells", inplace=True, overwrite=overwrite)
        self.table_seed = self.map_seed

    @precondition(lambda self: self.table_seed is not None)
    @rule()
    def delete(self) -> None:
        del self.sdata["cells_expression"]
        self.sdata.delete_element_from_disk("cells_expression")
        self.table_seed = None

    @precondition(lambda self: self.map_seed is not None)
    @rule()
    def expand(self) -> None:
        ps.tl.expand(self.sdata, ["VIM"], raster_key="he_programs", key_added="vim", overwrite=True)
        assert self.map_seed is not None
        expected = fresh(self.map_seed)["he_expression"].sel(c=["VIM"]).values
        assert_close(self.sdata["vim"].values, expected)

    @rule(number=st.integers(0, 2))
    def write_something_else(self, number: int) -> None:
        if (name := f"mask{number}") not in self.sdata:
            self.sdata[name] = build.make_labels(np.ones((4, 4), np.uint8), {"global": Scale([1.0, 1.0], AXES)})
            self.sdata.write_element(name)

    @invariant()
    def holds(self) -> None:
        if not self.path.exists():
            return
        again = sd.read_zarr(self.path)
        assert {name: digests(self.path / name) for name in self.before} == self.before
        assert ("he_programs" in again) == (self.map_seed is not None)
        if self.map_seed is not None:
            expected = fresh(self.map_seed)["he_programs"].values
            assert_close(again["he_programs"].values, expected)
        assert ("cells_expression" in again) == (self.table_seed is not None)
        if self.table_seed is not None:
            wanted = fresh(self.table_seed)["cells_expression"].X
            assert_close(again["cells_expression"].X, wanted)
        beside = set() if self.waiting is None else {".s.zarr+he_programs.partial"}
        assert {path.name for path in self.folder.iterdir()} == {"s.zarr", *beside}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


FRESH: dict[int, SpatialData] = {}


def fresh(seed: int) -> SpatialData:
    """What a computation in memory gives, from the start."""
    if seed not in FRESH:
        FRESH[seed] = section(cells=squares())
        predict(FRESH[seed], "he", model=tiny_model(seed))
        aggregate(FRESH[seed], "cells", inplace=True)
    return FRESH[seed]


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestStore(Store.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(times(0.2), phases=UNSHRUNK)
