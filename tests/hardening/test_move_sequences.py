"""Any sequence of ordinary moves leaves the right sums or ends in a refusal.

The single moves are those of `test_moves`; here they follow one another in any order, and every image that a move has
made is summed at the end: what an earlier move made must stay right when later ones replace maps, write, or drop
records.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import spatialdata as sd
from hardening.profiles import times
from hardening.slides import GENES, picture, predict, section, squares, tiny_model
from hardening.test_moves import SYSTEMS, summed
from hypothesis import given
from hypothesis import strategies as st
from precision import assert_close
from spatialdata import SpatialData
from spatialdata.models import Image2DModel
from spatialdata.transformations import Scale, get_transformation, set_transformation

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError


@dataclass(frozen=True)
class State:
    """An object, and for each image with a known map the seeds of the models of which one must give its sums."""

    sdata: SpatialData
    folder: Path
    maps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    step: int = 0
    suffix: str = ""

    def name(self, kind: str) -> str:
        """A name that no earlier move has used."""
        return f"{kind}{self.step}"


def mapped(seed: int) -> SpatialData:
    made = section(he=picture(systems=SYSTEMS), cells=squares(systems=SYSTEMS))
    predict(made, "he", model=tiny_model(seed))
    return made


@cache
def expected(seed: int) -> np.ndarray:
    return np.asarray(summed(mapped(seed), "he_programs").X)


def start(folder: Path) -> State:
    return State(mapped(0), folder, {"he_programs": (0,), "he_expression": (0,)})


def last(state: State, kind: str) -> str | None:
    """The newest image whose channels are genes, or programs."""
    found = [key for key in state.maps if (list(state.sdata[key].c.values) == GENES) == (kind == "genes")]
    return found[-1] if found else None


def add(state: State, key: str, element: object, source: str) -> State:
    state.sdata[key] = element
    return replace(state, maps={**state.maps, key: state.maps[source]})


def rename_genes(state: State) -> State:
    key = last(state, "genes")
    if key is None:
        return state
    added = add(state, state.name("genes"), state.sdata[key], key)
    del added.sdata[key]
    return replace(added, maps={name: seed for name, seed in added.maps.items() if name != key})


def second_name(state: State) -> State:
    key = last(state, "programs")
    return state if key is None else add(state, state.name("programs"), state.sdata[key], key)


def copy_values(state: State) -> State:
    key = last(state, "genes")
    if key is None:
        return state
    systems = get_transformation(state.sdata[key], get_all=True)
    copied = Image2DModel.parse(state.sdata[key].values, c_coords=GENES, transformations=systems)
    return add(state, state.name("copy"), copied, key)


def predict_again(state: State) -> State:
    """With another model, over the map that stands there. Genes that were attached over it may follow it."""
    if "he" not in state.sdata.images:
        return state
    seed = state.step + 1
    predict(state.sdata, "he", model=tiny_model(seed), overwrite=True)
    followers = [key for key in state.maps if key != "he_programs" and list(state.sdata[key].c.values) == GENES]
    replaced = {key: (*state.maps[key], seed) for key in followers}
    new = {f"he_{kind}": (seed,) for kind in ("programs", "expression") if f"he_{kind}" in state.sdata.images}
    return replace(state, maps={**state.maps, **replaced, **new})


def write_and_read(state: State) -> State:
    path = state.folder / f"{state.step}.zarr"
    state.sdata.write(path)
    return replace(state, sdata=sd.read_zarr(path))


def expand_again(state: State) -> State:
    key = last(state, "programs")
    if key is None:
        return state
    name = state.name("expanded")
    ps.tl.expand(state.sdata, raster_key=key, key_added=name)
    return replace(state, maps={**state.maps, name: state.maps[key]})


def lose_records(state: State) -> State:
    state.sdata.attrs = {}
    return state


def elements_anew(state: State) -> State:
    elements = {name: element for _, name, element in state.sdata.gen_elements()}
    return replace(state, sdata=SpatialData.init_from_elements(elements))


def concatenate(state: State) -> State:
    """Behind another slide with a map of its own; only where names have no suffix yet."""
    if state.suffix:
        return state
    both = sd.concatenate({"a": state.sdata, "b": mapped(99)})
    maps = {f"{key}-a": seed for key, seed in state.maps.items()}
    return replace(state, sdata=both, maps={**maps, "he_programs-b": (99,)}, suffix="-a")


def magnify(state: State) -> State:
    """Everything lies elsewhere in its coordinate systems, together: each shape keeps its pixels."""
    for _, _, element in state.sdata.gen_spatial_elements():
        for system, transformation in get_transformation(element, get_all=True).items():
            wider = sd.transformations.Sequence([transformation, Scale([2.0, 2.0], ("x", "y"))])
            set_transformation(element, wider, system)
    return state


def deep_copy(state: State) -> State:
    return replace(state, sdata=sd.deepcopy(state.sdata))


MOVES: list[Callable[[State], State]] = [
    rename_genes,
    second_name,
    copy_values,
    predict_again,
    write_and_read,
    expand_again,
    lose_records,
    elements_anew,
    concatenate,
    magnify,
    deep_copy,
]


def check_sums(state: State) -> None:
    for key, seeds in state.maps.items():
        try:
            found = summed(state.sdata, key)
        except PixnetError:
            continue
        assert found.var_names.tolist() == GENES
        assert_close(found.X, min(map(expected, seeds), key=lambda sums: np.abs(found.X - sums).max()))


def apply(moves: list[Callable[[State], State]], folder: Path) -> State:
    """Make the moves; one that the package refuses changes nothing."""
    state = start(folder)
    for move in moves:
        with suppress(PixnetError):
            state = move(state)
        state = replace(state, step=state.step + 1)
    return state


@times(0.5)
@given(st.lists(st.sampled_from(MOVES), min_size=2, max_size=6))
def test_any_sequence_of_moves_gives_the_right_sums_or_a_refusal(moves: list[Callable[[State], State]]) -> None:
    with TemporaryDirectory() as folder:
        check_sums(apply(moves, Path(folder)))
