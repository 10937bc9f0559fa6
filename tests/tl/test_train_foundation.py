"""From a token to a model, as a user goes, with every foundation model at a tiny size. The hub is a local stand-in."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hub as stand_in
import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from hub import DEPTH, DIM, MEMBER, Hub
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd.nn.encoders.foundation import FOUNDATION, PICKLE, SAFETENSORS


@pytest.fixture(scope="module")
def section(toy_section: SpatialData) -> SpatialData:
    """A corner of it, one window of most models."""
    low, high = [0, 0], [72, 72]
    return toy_section.query.bounding_box(
        axes=("y", "x"), min_coordinate=low, max_coordinate=high, target_coordinate_system="micrometers"
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with stand_in.serve(Hub()) as (address, hub):
        stand_in.point_to(address, tmp_path, monkeypatch)
        yield hub


def config(name: str) -> ps.TrainConfig:
    network = replace(ps.NetworkConfig.foundation(name, context_um=()), encoder_depth=DEPTH, encoder_dim=DIM)
    return ps.TrainConfig(network=network, steps=1)


def train(section: SpatialData, name: str) -> ps.Model:
    return ps.tl.train(
        section, table_key="bins_8um_counts", config=config(name), validation=None, device="cpu", progress=False
    )


@pytest.mark.filterwarnings("ignore:.* extend beyond image")
@pytest.mark.parametrize("name", FOUNDATION)
def test_export_a_token_and_train(name, section, hub, monkeypatch):
    stand_in.publish_tiny(hub, monkeypatch, name)
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    model = train(section, name)
    assert (model.network.members[0].config.encoder, model.mpp) == (name, FOUNDATION[name].mpp)


@pytest.mark.filterwarnings("ignore:.* extend beyond image")
def test_the_other_format_of_a_file(section, hub, monkeypatch):
    """A model that is pinned as a pickle is published as safetensors too."""
    assert FOUNDATION["uni2-h"].file == PICKLE
    stand_in.publish_tiny(hub, monkeypatch, "uni2-h", SAFETENSORS)
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    assert train(section, "uni2").network.members[0].config.encoder == "uni2-h"


@pytest.mark.filterwarnings("ignore:.* extend beyond image")
@pytest.mark.parametrize(("mpp", "warns"), [(0.5, False), (0.55, True), (1.0, True)])
def test_another_magnification_than_the_encoder_s_warns(mpp, warns, section):
    """Of windows of 256 px that are seen at 224 px, pixels are 8/7 as large."""
    few = replace(config("hibou-b"), network=replace(config("hibou-b").network, mpp=mpp))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ps.PixnetWarning)
        ps.tl.train(
            section, table_key="bins_8um_counts", config=few, encoder_weights=None, validation=None, progress=False
        )
    found = [
        str(one.message) for one in caught if "was trained at 0.5 µm per pixel (by convention)" in str(one.message)
    ]
    assert len(found) == warns


@pytest.mark.filterwarnings("ignore:.* extend beyond image")
class TestSavedModels:
    """Frozen encoders that may not be passed on are named in the file, and fetched when it is loaded."""

    def saved(self, section, hub, monkeypatch, folder: Path, name: str) -> ps.Model:
        stand_in.publish_tiny(hub, monkeypatch, name)
        monkeypatch.setenv("HF_TOKEN", MEMBER)
        model = train(section, name)
        model.save(folder)
        return model

    def test_it_is_fetched_and_gives_the_same(self, section, hub, monkeypatch, tmp_path):
        model = self.saved(section, hub, monkeypatch, tmp_path / "model", "uni2-h")
        stored = safetensors.torch.load_file(tmp_path / "model" / "weights.safetensors")
        assert not [key for key in stored if ".features.encoder." in key]
        again = ps.Model.load(tmp_path / "model")
        weights = model.network.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in again.network.state_dict().items())
        assert again.encoder == model.encoder
        assert (again.encoder or {})["sha256"] == FOUNDATION["uni2-h"].sha256
        assert "CC-BY-NC-ND-4.0, not for commercial use" in again.card.limits
        assert not any(".features.encoder." in key for key in again.tensors())

    def test_a_permissive_one_is_in_the_file(self, section, hub, monkeypatch, tmp_path):
        self.saved(section, hub, monkeypatch, tmp_path / "model", "hibou-b")
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
        assert ps.Model.load(tmp_path / "model").encoder is None

    def test_without_a_token_or_with_other_weights(self, section, hub, monkeypatch, tmp_path):
        self.saved(section, hub, monkeypatch, tmp_path / "model", "h0-mini")
        (blob,) = (tmp_path / "hub").rglob("snapshots/*/model.safetensors")
        local = tmp_path / "local.safetensors"
        local.write_bytes(blob.read_bytes())
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
        with pytest.raises(ps.PixnetError, match="'h0-mini' are gated.*encoder_weights="):
            ps.Model.load(tmp_path / "model")
        assert ps.Model.load(tmp_path / "model", encoder_weights=local).genes
        safetensors.torch.save_file(stand_in.tiny_state(FOUNDATION["h0-mini"]), local)
        with pytest.raises(ps.PixnetError, match="trained on other weights of 'h0-mini'"):
            ps.Model.load(tmp_path / "model", encoder_weights=local)
