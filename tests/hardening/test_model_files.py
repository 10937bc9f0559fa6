"""Whatever is done to a model's files, they are refused, or hold the model that was saved. Never anything else."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardening.profiles import PROFILE, times
from hardening.slides import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from pixnet_sd._errors import PixnetError
from pixnet_sd.nn.model import Model
from pixnet_sd.nn.model_file import DESCRIPTION, WEIGHTS

resource = pytest.importorskip("resource")

MOST_BYTES = 256 * 2**20
"""A file of a few kilobytes must not make a process grow by more."""

scalars = (
    st.none() | st.booleans() | st.integers(-9, 99) | st.integers(10**9, 10**30) | st.floats() | st.text(max_size=9)
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "saved"
    tiny_model().save(folder)
    return folder


@pytest.fixture(scope="module")
def changed(saved: Path) -> Path:
    """A folder in which anything may be written."""
    return Path(shutil.copytree(saved, saved.with_name("changed")))


def peak_bytes() -> int:
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def outcome(folder: Path) -> Model | None:
    """The model, or None where it was refused in a way that callers can catch."""
    before = peak_bytes()
    try:
        return Model.load(folder)
    except PixnetError as error:
        assert str(error)
        return None
    finally:
        assert peak_bytes() - before < MOST_BYTES


def put(folder: Path, source: Path, *, weights: bytes | None = None, text: str | None = None) -> None:
    """The files of the source, one of them changed."""
    (folder / WEIGHTS).write_bytes((source / WEIGHTS).read_bytes() if weights is None else weights)
    (folder / DESCRIPTION).write_text((source / DESCRIPTION).read_text() if text is None else text)


def with_own_sum(source: Path, weights: bytes) -> str:
    """A description whose sum is that of the changed weights, as one who forges a file would write it."""
    values = json.loads((source / DESCRIPTION).read_text())
    return json.dumps({**values, "sha256": hashlib.sha256(weights).hexdigest()})


@times(2)
@given(data=st.data())
def test_weights_with_changed_bytes_never_become_another_model(saved: Path, changed: Path, data: Any) -> None:
    content = bytearray((saved / WEIGHTS).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    put(changed, saved, weights=bytes(content))
    model = outcome(changed)
    assert model is None or model.sha256 == tiny_model().sha256


@times(2)
@given(data=st.data())
def test_a_forged_header_is_refused_or_read_and_nothing_else(saved: Path, changed: Path, data: Any) -> None:
    content = bytearray((saved / WEIGHTS).read_bytes())
    length = int.from_bytes(content[:8], "little")
    for place in data.draw(st.lists(st.integers(0, length + 7), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    put(changed, saved, weights=bytes(content), text=with_own_sum(saved, bytes(content)))
    model = outcome(changed)
    assert model is None or np.isfinite(model.loadings).all()


@PROFILE
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_refused(saved: Path, changed: Path, share: float) -> None:
    weights, text = (saved / WEIGHTS).read_bytes(), (saved / DESCRIPTION).read_text()
    put(changed, saved, weights=weights[: int(share * len(weights))])
    assert outcome(changed) is None
    put(changed, saved, text=text[: int(share * len(text))])
    assert outcome(changed) is None


@PROFILE
@given(declared=st.integers(0, 2**64 - 1), side=st.integers(2**31, 2**62))
def test_huge_declared_sizes_are_refused(saved: Path, changed: Path, declared: int, side: int) -> None:
    weights = (saved / WEIGHTS).read_bytes()
    header = json.dumps({"a": {"dtype": "F32", "shape": [side, side], "data_offsets": [0, side]}}).encode()
    for content in (declared.to_bytes(8, "little") + weights[8:], len(header).to_bytes(8, "little") + header):
        if content != weights:
            put(changed, saved, weights=content, text=with_own_sum(saved, content))
            assert outcome(changed) is None


@times(2)
@given(values=anything)
def test_a_description_of_any_shape_is_refused(saved: Path, changed: Path, values: Any) -> None:
    put(changed, saved, text=json.dumps(values))
    assert outcome(changed) is None


@times(5)
@given(data=st.data())
def test_any_value_in_a_description_is_refused_or_gives_the_same_map(saved: Path, changed: Path, data: Any) -> None:
    description = json.loads((saved / DESCRIPTION).read_text())
    place, key = description, data.draw(st.sampled_from(sorted(description)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(anything)
    put(changed, saved, text=json.dumps(description))
    model = outcome(changed)
    assert model is None or model.sha256 == tiny_model().sha256


@PROFILE
@given(key=st.text(min_size=1), value=scalars)
def test_unknown_keys_are_refused(saved: Path, changed: Path, key: str, value: Any) -> None:
    description = json.loads((saved / DESCRIPTION).read_text())
    if key not in description:
        put(changed, saved, text=json.dumps({**description, key: value}))
        assert outcome(changed) is None
