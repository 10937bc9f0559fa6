"""OpenVINO gives the map that torch gives, converts a network once, and gives way where it cannot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tiny
import torch

import pixnet_sd as ps
from pixnet_sd._raster.picture import Picture
from pixnet_sd._settings import logger
from pixnet_sd.nn.inference import openvino
from pixnet_sd.nn.inference.converted import KEPT, kept_network, remove_oldest
from pixnet_sd.nn.inference.predict import for_inference, plan_tiles, predict_blocks, resolve_inference
from pixnet_sd.nn.network.ensemble import Ensemble

pytest.importorskip("openvino", reason='OpenVINO is not installed (pip install "pixnet-sd[fast]")')

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 150, 203), dtype=np.uint8)
AGREE_SD = 1e-4
ENCODERS: dict[str, dict[str, Any]] = {
    "stain": {},
    "safb": {"context_um": (20.0,), "decoder": "safb"},
    "cnn": {
        "encoder": "tf_efficientnet_lite0",
        "levels": (0, 1),
        "widths": (8, 8),
        "overview": 4,
        "context_um": (64.0,),
    },
    "pixel": {"decoder": "pixel", "widths": (8,)},
    "readout": {"decoder": "readout", "head": "log"},
    "windows": {"encoder": "resnet18", "levels": (0, 1), "window_px": 64, "widths": (8, 8, 8, 8, 8)},
    "vit": {"encoder": "hibou-b", "encoder_depth": 4, "encoder_dim": 48, "levels": None, "widths": (8,) * 6},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ps.settings, "cache_dir", str(tmp_path / "kept"))
    return tmp_path / "kept" / "openvino"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def raster(network: Ensemble, backend: str, **options) -> np.ndarray:
    picture = Picture(da.from_array(PIXELS, chunks=(3, 64, 64)))
    how = resolve_inference(network, device="cpu", backend=backend, **options)
    out = np.full((len(network.loadings), *picture.grid.coarsened(network.stride).shape), np.nan, np.float32)
    for window, block in predict_blocks(network, picture, plan_tiles(network, picture, how), how):
        out[:, *window.slices] = block
    return out


def network(**changes) -> Ensemble:
    return tiny.model(["a", "b"], **changes).network


def assert_agree(found: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(found - wanted).max() <= AGREE_SD * wanted.std()


@pytest.mark.parametrize("kind", ENCODERS)
def test_all_kinds_of_networks_give_the_map_of_torch(kind: str, lines: pytest.LogCaptureFixture) -> None:
    made = network(**ENCODERS[kind])
    assert_agree(raster(made, "openvino", tile_size=64), raster(made, "torch", tile_size=64))
    assert "converted in" in lines.text
    assert "cannot run" not in lines.text


def test_a_batch_of_tiles_gives_the_bytes_of_single_tiles() -> None:
    made = network()
    one = raster(made, "openvino", tile_size=64)
    assert np.array_equal(raster(made, "openvino", tile_size=64, batch_size=5), one)
    assert_agree(raster(made, "openvino", tile_size=128), one)


def test_eight_views_and_members() -> None:
    single, other = network().members[0], network(seed=1).members[0]
    both = Ensemble([single, other]).eval()
    assert_agree(raster(both, "openvino", augment=True), raster(both, "torch", augment=True))


def test_a_network_is_converted_once(folder: Path, lines: pytest.LogCaptureFixture) -> None:
    first = raster(network(), "openvino")
    assert lines.text.count("converting the network for OpenVINO, once for tiles of") == 1
    assert np.array_equal(raster(network(), "openvino"), first)
    assert lines.text.count("converting") == 1
    assert len(list(folder.iterdir())) == 1
    raster(network(seed=1), "openvino")
    assert lines.text.count("converting") == 2


def test_names_tell_apart_all_that_a_converted_network_depends_on() -> None:
    shape = (1, 3, 64, 64)
    made = [network(), network(seed=1), network(programs=4), network(mpp=0.4)]
    names = [kept_network(one, shape) for one in made] + [kept_network(made[0], (1, 3, 64, 128))]
    assert len(set(names)) == len(names)
    assert kept_network(network(), shape) == names[0]


def test_where_nothing_can_be_kept_it_is_converted_again(folder: Path, lines: pytest.LogCaptureFixture) -> None:
    folder.parent.write_text("a file where a folder should be")
    first, second = (raster(network(), "openvino") for _ in range(2))
    assert np.array_equal(first, second)
    assert lines.text.count("the converted network is not kept") == 2


def test_the_oldest_networks_are_removed(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "network.xml").touch()
    remove_oldest(tmp_path)
    assert len(list(tmp_path.iterdir())) == KEPT


@pytest.mark.parametrize("wrong", ["broken", "other values"])
def test_torch_takes_over_where_a_conversion_fails(
    wrong: str, monkeypatch: pytest.MonkeyPatch, lines: pytest.LogCaptureFixture, folder: Path
) -> None:
    def convert(made: torch.nn.Module, image: torch.Tensor) -> object:
        if wrong == "broken":
            raise RuntimeError("an operation is not known")
        return right(for_inference(network(seed=1), "cpu"), image)

    right = openvino.convert_network
    monkeypatch.setattr(openvino, "convert_network", convert)
    made = network()
    assert np.array_equal(raster(made, "openvino"), raster(made, "torch"))
    assert lines.text.count("OpenVINO cannot run this network") == 1
    assert not folder.exists()
