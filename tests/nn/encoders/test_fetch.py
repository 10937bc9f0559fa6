"""Weights of foundation models: fetched whole, pinned, or refused with what to do. The hub is a local stand-in."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hub as stand_in
import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch
from hub import DEPTH, DIM, MEMBER, STRANGER, Hub, publish_tiny, tiny_state

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd.nn.encoders import build as nn_encoder
from pixnet_sd.nn.encoders import fetch
from pixnet_sd.nn.encoders.build import encoders
from pixnet_sd.nn.encoders.foundation import FOUNDATION, PICKLE, SAFETENSORS, Foundation, canonical_name
from pixnet_sd.nn.encoders.vit import create_vit

GATED = "h-optimus-0"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with nothing on it, an empty cache, and a token with access."""
    with stand_in.serve(Hub()) as (address, hub):
        stand_in.point_to(address, tmp_path, monkeypatch)
        monkeypatch.setenv("HF_TOKEN", MEMBER)
        yield hub


@pytest.fixture
def full(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """With one gated model, whose file is a pickle."""
    publish_tiny(hub, monkeypatch, GATED)
    return hub


def build(name: str, **options: Any) -> Any:
    return nn_encoder.build_encoder(name, **{"depth": DEPTH, "dim": DIM, **options})


def same(encoder: Any, state: dict[str, torch.Tensor]) -> bool:
    own = encoder.encoder.model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", FOUNDATION)
def test_every_row_is_fetched_under_its_file_s_name_and_works_offline_afterwards(name, hub, monkeypatch):
    state = publish_tiny(hub, monkeypatch, name)
    first = build(name)
    asked = len(hub.asked)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("HF_TOKEN")
    bare = {key.removeprefix("trunk."): value for key, value in state.items()}
    assert same(first, bare)
    assert same(build(name), bare)
    assert (asked > 0, len(hub.asked)) == (True, asked)
    assert all(path.endswith(FOUNDATION[name].file) for path in hub.asked)


def test_the_other_name_is_asked_for_where_the_first_is_missing(hub):
    row = FOUNDATION[GATED]
    state = tiny_state(row)
    hub.publish(row, SAFETENSORS, state)
    assert same(build(GATED), state)
    assert [path.rsplit("/", 1)[1] for path in hub.asked[:2]] == [PICKLE, SAFETENSORS]


def test_a_pickle_that_is_not_pinned_is_not_opened(hub):
    hub.publish(FOUNDATION["h0-mini"], PICKLE, tiny_state(FOUNDATION["h0-mini"]))
    with pytest.raises(PixnetValueError, match=r"nor the file whose sha256 is pinned.*save_file\(torch.load"):
        build("h0-mini")


@pytest.mark.parametrize("name", [GATED, "h0-mini"])
def test_another_file_than_the_pinned_one_is_refused(name, hub, monkeypatch):
    publish_tiny(hub, monkeypatch, name)
    hub.publish(FOUNDATION[name], FOUNDATION[name].file, tiny_state(FOUNDATION[name]))
    with pytest.raises(PixnetRuntimeError, match=r"has sha256 \w{12}\.\.\., not \w{12}.*encoder_weights="):
        build(name)


def test_a_pickle_is_opened_once_and_its_tensors_are_kept(full, monkeypatch, tmp_path):
    first = build(GATED)
    (kept,) = (tmp_path / "pixnet_sd").iterdir()
    monkeypatch.setattr(fetch, "convert_pickle", None)
    for path in (tmp_path / "hub").rglob("*.bin"):
        path.unlink()
    assert kept.name == f"{FOUNDATION[GATED].sha256}.safetensors"
    assert same(build(GATED), first.encoder.model.state_dict())


def test_a_local_pickle_is_opened_only_if_it_is_the_pinned_one(full, tmp_path, monkeypatch):
    pinned, other = tmp_path / "pinned.bin", tmp_path / "other.bin"
    pinned.write_bytes(full.files[FOUNDATION[GATED].hub, FOUNDATION[GATED].revision, PICKLE])
    torch.save(tiny_state(FOUNDATION[GATED]), other)
    monkeypatch.delenv("HF_TOKEN")
    assert build(GATED, weights=pinned)
    with pytest.raises(PixnetValueError, match=r"encoder_weights=\"model.safetensors\""):
        build(GATED, weights=other)
    assert not full.asked


def test_a_cache_that_another_tool_filled_is_used(full, tmp_path, monkeypatch):
    """Its folder is spelled otherwise, and its branch is `main`."""
    folder = tmp_path / "hub" / f"models--{FOUNDATION[GATED].hub.replace('/', '--').upper()}"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    content = full.files[FOUNDATION[GATED].hub, FOUNDATION[GATED].revision, PICKLE]
    (folder / "snapshots" / "abc" / PICKLE).write_bytes(content)
    monkeypatch.delenv("HF_TOKEN")
    assert build(GATED)
    assert not full.asked


class TestErrors:
    """Each says what to do, and the name of the argument for a local file."""

    def refused(self, match: str, name: str = GATED) -> None:
        with pytest.raises(PixnetRuntimeError, match=match) as caught:
            build(name)
        assert "encoder_weights=" in str(caught.value)

    def test_no_token(self, full, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        self.refused("accept the terms at https://huggingface.co/bioptimus/H-optimus-0 .*export HF_TOKEN")
        assert not full.asked

    def test_a_token_that_the_hub_does_not_know(self, full, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        self.refused(r"does not accept your token \(401\).*settings/tokens")

    def test_a_token_without_access(self, full, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", STRANGER)
        self.refused(r"your token has no access \(403\): accept the terms")

    def test_no_such_file(self, hub):
        hub.files[FOUNDATION[GATED].hub, FOUNDATION[GATED].revision, "README.md"] = b""
        self.refused(r"has none of \['pytorch_model.bin', 'model.safetensors'\] at revision b145")

    @pytest.mark.parametrize("revision", ["0" * 40, None])
    def test_no_such_revision_or_repository(self, hub, revision):
        if revision:
            hub.files[FOUNDATION[GATED].hub, revision, "README.md"] = b""
        self.refused(r"has no revision b145.*\(404\)")

    @pytest.mark.parametrize("name", [GATED, "resnet10t"])
    def test_no_network(self, name, hub, monkeypatch):
        closed = "http://127.0.0.1:9"  # the port for discarding
        monkeypatch.setattr(time, "sleep", lambda _: None)  # the hub's client tries again for 24 s
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            closed + "/{repo_id}/resolve/{revision}/{filename}",
        )
        self.refused("the hub cannot be reached", name)

    def test_offline(self, hub, monkeypatch):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        self.refused("the hub cannot be reached.*offline")

    def test_no_room_for_it(self, full, monkeypatch):
        monkeypatch.setitem(FOUNDATION, GATED, replace(FOUNDATION[GATED], size_mb=10**12))
        with pytest.raises(PixnetRuntimeError, match="'h-optimus-0' takes up to .* bytes.*HF_HOME"):
            build(GATED)
        assert not full.asked


@pytest.mark.parametrize("name", FOUNDATION)
def test_every_row_is_pinned_and_says_what_one_must_know(name):
    row = FOUNDATION[name]
    assert row.scale_by in {"card", "magnification", "convention"}
    assert (len(row.revision), len(row.sha256 or "")) == (40, 64) or name == "kaiko-b8"
    one, two = (count_parameters(row, depth) for depth in (1, 2))
    assert 4 * (one + (row.depth - 1) * (two - one)) / 1e6 == pytest.approx(row.size_mb, rel=0.005)


def count_parameters(row: Foundation, depth: int) -> int:
    with torch.device("meta"):
        model = create_vit(row, depth=depth, dim=row.dim, window_px=row.window_px)
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_row_without_a_pinned_sha256_has_no_pickle():
    assert all(row.file == SAFETENSORS for row in FOUNDATION.values() if row.sha256 is None)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    {
        "uni2": "uni2-h",
        "uni_v2": "uni2-h",
        "UNI_v1": "uni",
        "gigapath": "prov-gigapath",
        "phikonv2": "phikon-v2",
        "midnight12k": "midnight",
        "hoptimus0": "h-optimus-0",
        "conch_v15": "conch-v1.5",
        "h0_mini": "h0-mini",
        "hibou_l": "hibou-l",
        "lunit-vits8": "lunit-s8",
        "kaiko-vitb8": "kaiko-b8",
        "resnet10t": "resnet10t",
    }.items(),
)
def test_names_of_other_tools(theirs, ours):
    assert canonical_name(theirs) == ours


def test_the_table_says_what_to_choose():
    table = encoders()
    assert list(table.index[:5]) == ["hibou-b", "midnight", "h-optimus-0", "h0-mini", "phikon-v2"]
    assert (table["choose"] != "").sum() == 5
    assert set(table.index[table["commercial"]]) == {"h-optimus-0", "hibou-b", "hibou-l", "virchow", "midnight"}
    assert table.loc["phikon-v2", "access"] == "free at https://huggingface.co/owkin/phikon-v2"
    assert table.loc["uni", "access"].startswith("request access at https://huggingface.co/MahmoodLab/UNI,")


def test_layer_scale_that_the_network_has_no_place_for_is_not_ignored(tmp_path):
    state = tiny_state(FOUNDATION["uni"])
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(PixnetValueError, match="8 tensors in their blocks.*ls1.gamma"):
        build("kaiko-b8", weights=tmp_path / "a.safetensors")


def test_a_cnn_is_fetched_from_where_timm_publishes_it(hub):
    model: Any = timm.create_model("resnet10t", pretrained=False)
    repository = fetch.published_cnn("resnet10t").hub
    hub.files[repository, "main", SAFETENSORS] = safetensors.torch.save(model.state_dict())
    encoder: Any = nn_encoder.build_encoder("resnet10t")
    own = encoder.model.state_dict()
    assert torch.equal(own["conv1.0.weight"], model.state_dict()["conv1.0.weight"])
