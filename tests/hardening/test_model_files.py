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

from pixnet_sd._errors import PixnetError, PixnetValueError
from pixnet_sd.nn.model import skeleton
from pixnet_sd.nn.model.file import DESCRIPTION, WEIGHTS
from pixnet_sd.nn.model.model import Model
from pixnet_sd.nn.network.config import NetworkConfig

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


def forged(saved: Path, **changes: Any) -> str:
    """A description whose values, or those of its first network, are others."""
    values = json.loads((saved / DESCRIPTION).read_text())
    network = values["members"][0]["network"]
    for key, value in changes.items():
        place = network if key in network and key != "mpp" else values
        place[key] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    "changes",
    [
        {"context_um": [float("inf")]},
        {"context_um": [1e12]},
        {"context_um": ["150"]},
        {"context_um": 150},
        {"widths": [8192] * 4},
        {"widths": [8193]},
        {"widths": [2.5]},
        {"widths": []},
        {"widths": 4},
        {"programs": 8192},
        {"programs": True},
        {"encoder": "resnetv2_152x4_bit", "levels": None},
        {"encoder": "uni2-h", "encoder_depth": 128, "encoder_dim": 8192},
        {"encoder": "uni2-h", "encoder_depth": 10**9},
        {"encoder": "uni2-h", "encoder_dim": 7},
        {"encoder": "../../encoder"},
        {"encoder": "hf-hub:org/name"},
        {"encoder": ["stain"]},
        {"encoder": "resnet18", "levels": [99]},
        {"encoder": "resnet18", "levels": [-1]},
        {"encoder": "resnet18", "window_px": 10**9},
        {"encoder": "resnet18", "window_px": 0},
        {"window_px": 64.0},
        {"mpp": float("inf")},
        {"stain": "yes"},
        {"stride": True},
        {"genes": [f"G{number}" for number in range(10**6)]},
        {"genes": [1, 2, 3]},
        {"genes": [["EPCAM"], ["VIM"], ["CD3E"]]},
        {"ensembl": [1, 2, 3]},
        {"library_size": float("inf")},
        {"library_size": "10000"},
        {"stain_domain": 0.5},
        {"stain_domain": {"mean": [0.0] * 8, "precision": [[0.0] * 8] * 8}},
        {"stain_domain": {"mean": [0.0] * 8, "precision": [[0.0] * 8] * 7, "limit": 1.0}},
        {"stain_domain": {"mean": [0.0] * 8, "precision": [[0.0] * 7] * 8, "limit": 1.0}},
        {"stain_domain": {"mean": [0.0] * 3, "precision": [[0.0] * 3] * 3, "limit": 1.0}},
        {"stain_domain": {"mean": ["0"] * 8, "precision": [[0.0] * 8] * 8, "limit": 1.0}},
        {"stain_domain": {"mean": [0.0] * 8, "precision": 0.0, "limit": float("nan")}},
        {"card": {"name": 3}},
        {"card": {"name": "tiny", "scores": {"EPCAM": "high"}}},
        {"card": {"name": "tiny", "scores": [1]}},
        {"history": {"loss": [[1.0]]}},
        {"history": {"loss": [10**400]}},
        {"members": {}},
        {"members": [None]},
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_a_forged_value_is_refused_before_anything_of_its_size_is_made(
    saved: Path, changed: Path, changes: dict[str, Any]
) -> None:
    put(changed, saved, text=forged(saved, **changes))
    assert outcome(changed) is None


@pytest.mark.parametrize("margin", [None, -8, 10**9, 10**30, 64.0, "64", True])
def test_a_margin_that_cannot_be_is_refused(saved: Path, changed: Path, margin: Any) -> None:
    values = json.loads((saved / DESCRIPTION).read_text())
    values["members"][0]["margin"] = margin
    put(changed, saved, text=json.dumps(values))
    with pytest.raises(PixnetValueError, match="`margin` must be"):
        Model.load(changed)


def test_no_more_members_are_made_than_the_weights_have(saved: Path, changed: Path) -> None:
    members = json.loads((saved / DESCRIPTION).read_text())["members"] * 50_000
    put(changed, saved, text=forged(saved, members=members))
    with pytest.raises(PixnetValueError, match=r"lacks \d+ tensors: \['members\.1\."):
        Model.load(changed)


@pytest.mark.parametrize("nested", ["[" * 10**5, "[" * 10**5 + "]" * 10**5, '{"a":' * 10**5 + "1" + "}" * 10**5])
def test_json_nested_beyond_all_measure_is_refused(saved: Path, changed: Path, nested: str) -> None:
    put(changed, saved, text=nested)
    with pytest.raises(PixnetValueError, match="not the JSON of a model"):
        Model.load(changed)


@pytest.mark.parametrize("levels", [100, 400, 900])
@pytest.mark.parametrize("key", ["history", "genes", "card", "members", "sha256", "mpp"])
def test_values_nested_as_deep_as_json_allows_are_refused(saved: Path, changed: Path, key: str, levels: int) -> None:
    whole = json.loads((saved / DESCRIPTION).read_text())
    put(changed, saved, text=json.dumps({**whole, key: "HERE"}).replace('"HERE"', "[" * levels + "]" * levels))
    assert outcome(changed) is None


@pytest.mark.parametrize("dtype", ["F4", "F8_E4M3", "F8_E8M0", "BF16", "U64", "BOOL", "C64"])
def test_tensors_of_any_type_are_refused(saved: Path, changed: Path, dtype: str) -> None:
    size = {"U64": 8, "C64": 8, "BF16": 2}.get(dtype, 1)
    header = json.dumps({"a": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(size)
    put(changed, saved, weights=content, text=with_own_sum(saved, content))
    assert outcome(changed) is None


@pytest.mark.parametrize("size", [2**32, 2**42])
def test_a_file_with_a_hole_of_gigabytes_is_refused_unread(saved: Path, changed: Path, size: int) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    put(changed, saved)
    with (changed / WEIGHTS).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    assert outcome(changed) is None


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "", "hf-hub:", "hf-hub:../..@x"])
def test_a_name_that_no_model_can_have(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PixnetValueError):
        Model.load(name)


@pytest.mark.parametrize("encoder", ["stain", "resnet10t", "efficientnet_b0", "convnext_atto", "uni", "uni2-h"])
@pytest.mark.parametrize("decoder", ["safb", "pixel", "readout"])
def test_a_network_is_drawn_as_it_is_built(encoder: str, decoder: str) -> None:
    small: dict[str, Any] = {"encoder_depth": 4, "encoder_dim": 48} if encoder.startswith("uni") else {}
    config = NetworkConfig(encoder, None, decoder=decoder, widths=(4,) * 6, programs=2, mpp=0.5, stride=4, **small)
    member = {"network": config.to_json(), "margin": 0, "rim": 0}
    drawn, built = skeleton.meta_tensors(member, 3), skeleton.build_network(member, 3).state_dict()
    assert {key: (value.shape, value.dtype) for key, value in drawn.items()} == {
        key: (value.shape, value.dtype) for key, value in built.items()
    }
    assert all(value.is_meta for key, value in drawn.items() if value.numel() > 100)
