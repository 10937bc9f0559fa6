"""From a token to a model, as a user goes, with every foundation model at a tiny size. The hub is a local stand-in."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hub as stand_in
import pytest
from hub import DEPTH, DIM, MEMBER, Hub
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd.nn.encoders.foundation import FOUNDATION, PICKLE, SAFETENSORS


@pytest.fixture(scope="module")
def section(toy_section: SpatialData) -> SpatialData:
    """A corner of it, one window of most models."""
    low, high = [0, 0], [48, 48]
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
