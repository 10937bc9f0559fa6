"""One spine: options are made once at the door, one plan reads, and few frames lie between a call and the network."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import spatialdata as sd
from hardening.slides import picture, section, squares, tiny_model
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError
from pixnet_sd._settings import logger
from pixnet_sd.tl._prediction.options import PredictOptions

PACKAGE = str(Path(ps.__file__).parent)
MOST_FRAMES = 8
"""Of this package, from the public call to the forward pass of the network, both counted."""
DOORS = [ps.tl.predict, ps.tl.predict_shapes, ps.tl.predict_shard]
HOW: dict[str, Any] = {"device": "cpu", "tile_size": 64, "progress": False}


def in_memory(path: Path) -> SpatialData:
    return section(he=picture(), a=squares())


def backed(path: Path) -> SpatialData:
    in_memory(path).write(path)
    return sd.read_zarr(path)


def count_frames(innermost: FrameType | None) -> int:
    """Count frames of this package, the outermost of which is a door."""
    count = 0
    while innermost is not None:
        count += innermost.f_code.co_filename.startswith(PACKAGE)
        innermost = innermost.f_back
    return count


@pytest.mark.parametrize("source", [in_memory, backed])
@pytest.mark.parametrize("call", [ps.tl.predict, lambda sdata, **how: ps.tl.predict_shapes(sdata, "a", **how)])
def test_few_frames_lie_between_a_call_and_the_network(
    call: Callable[..., None], source: Callable[[Path], SpatialData], tmp_path: Path
) -> None:
    model, found = tiny_model(), list[int]()
    # A hook is called by torch from where the network's own `forward` would be.
    model.network.register_forward_pre_hook(lambda *_: found.append(count_frames(sys._getframe(1)) + 1))
    call(source(tmp_path / "s.zarr"), model=model, **HOW)
    assert 1 < max(found) <= MOST_FRAMES


@pytest.mark.parametrize("door", DOORS)
def test_every_option_of_a_door_has_the_name_and_default_of_its_field(door: Callable[..., Any]) -> None:
    parameters = inspect.signature(door).parameters
    known = {field.name: field.default for field in fields(PredictOptions)}
    shared = {name for name in known if name in parameters}
    required = {"shards"} if "shards" in shared else set()
    assert {name: parameters[name].default for name in shared - required} == {n: known[n] for n in shared - required}
    assert MISSING not in known.values()
    wanted = set(known) - {"image_key_added", "shards"} if door is ps.tl.predict_shapes else set(known) - {"shards"}
    assert wanted <= shared


def test_arguments_arrive_as_options() -> None:
    given = {"mpp": 0.25, "genes": ("A", "B"), "augment": True, "inplace": False}
    assert PredictOptions.of(given) == PredictOptions(mpp=0.25, genes=["A", "B"], augment=True)


def test_a_map_that_is_there_is_kept_if_it_is_the_one_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for sdata in (in_memory(tmp_path), backed(tmp_path / "s.zarr")):
        ps.tl.predict(sdata, model=tiny_model(), exist_ok=True, **HOW)
        before = sdata["he_programs"]
        logger.addHandler(caplog.handler)
        ps.tl.predict(sdata, model=tiny_model(), exist_ok=True, **{**HOW, "tile_size": 32})
        logger.removeHandler(caplog.handler)
        assert sdata["he_programs"] is before
        for changed in ({"model": tiny_model(1)}, {"augment": True}, {"mpp": 0.51}):
            with pytest.raises(PixnetKeyError, match="is not what is asked for now: .*Pass overwrite=True"):
                ps.tl.predict(sdata, "he", **{"model": tiny_model(), "exist_ok": True, **HOW, **changed})
        with pytest.raises(PixnetKeyError, match="overwrite=True"):
            ps.tl.predict(sdata, "he", model=tiny_model(), **HOW)
    assert "is there already, as asked for" in caplog.text


def test_genes_that_the_model_lacks_are_not_looked_for_in_a_table(tmp_path: Path) -> None:
    with pytest.raises(PixnetKeyError, match="1 of 1 genes are not in model 'tiny', e.g"):
        ps.tl.predict(in_memory(tmp_path), model=tiny_model(), genes=["NOPE"], **HOW)
