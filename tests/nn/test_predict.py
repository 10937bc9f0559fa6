"""Blocks of programmes do not depend on how a picture is worked through, and each costs one run of the network."""

import shutil

import dask.array as da
import numpy as np
import pytest
import torch
from precision import assert_close
from torch import Tensor

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._pixels import Picture
from pixnet_sd.nn.ensemble import Ensemble
from pixnet_sd.nn.network import NetworkConfig, PixNet
from pixnet_sd.nn.predict import compiled, placed, plan_tiles, predict_blocks, resolve, turn, turn_back, turned

CONFIG = NetworkConfig(encoder="stain", widths=(8, 8, 8, 8), programmes=3, context_um=())
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 150, 203), dtype=np.uint8)


@pytest.fixture
def network() -> Ensemble:
    return Ensemble([PixNet(CONFIG, 4, encoder_weights=None)]).eval()


def raster(network: Ensemble, *, chunk: int = 64, **options) -> np.ndarray:
    picture = Picture(da.from_array(PIXELS, chunks=(3, chunk, chunk)))
    how = resolve(network, device="cpu", **options)
    out = np.full((len(network.loadings), *picture.grid.coarsened(network.stride).shape), np.nan, np.float32)
    for window, block in predict_blocks(network, picture, plan_tiles(network, picture, how), how):
        assert np.isnan(out[:, *window.slices]).all()
        out[:, *window.slices] = block
    return out


@pytest.mark.parametrize(
    "options", [{"tile_size": 64}, {"tile_size": 100, "batch_size": 3}, {"tile_size": 128, "chunk": 37}]
)
def test_tile_size_batch_size_and_chunks_do_not_matter(network: Ensemble, options: dict) -> None:
    reference = raster(network)
    assert reference.shape == (3, 38, 51)
    assert np.isfinite(reference).all()
    assert_close(raster(network, **options), reference)


def test_the_network_is_run_once_for_each_block(network: Ensemble) -> None:
    runs = []
    network.register_forward_hook(lambda module, inputs, output: runs.append(len(inputs[0])))
    raster(network, tile_size=64, batch_size=2)
    assert sum(runs) == 3 * 4


def test_members_of_an_ensemble_lie_side_by_side(network: Ensemble) -> None:
    both = Ensemble([network.members[0], network.members[0]]).eval()
    one = raster(network)
    assert_close(raster(both), np.concatenate([one, one]))


def test_turning_back_undoes_turning() -> None:
    image = torch.rand(1, 2, 4, 6)
    for turns in range(4):
        for mirror in (False, True):
            torch.testing.assert_close(turn_back(turn(image, turns, mirror), turns, mirror), image)


def test_the_mean_of_views_turns_with_the_picture() -> None:
    """A network that prefers a direction loses that preference."""

    def rightward(image: Tensor) -> Tensor:
        return image.cumsum(-1)

    image = torch.rand(1, 2, 6, 6)
    mean = turned(rightward)
    torch.testing.assert_close(mean(turn(image, 1, True)), turn(mean(image), 1, True))
    assert not torch.allclose(rightward(turn(image, 1, True)), turn(rightward(image), 1, True))


def test_views_do_not_depend_on_tiles(network: Ensemble) -> None:
    reference = raster(network, augment=True)
    assert np.abs(reference - raster(network)).max() > 1e-3 * reference.std()
    assert_close(raster(network, augment=True, tile_size=104), reference)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++, which is not here")
def test_compiling_changes_nothing_but_rounding() -> None:
    config = NetworkConfig(encoder="stain", decoder="pixel", widths=(2,), programmes=3, context_um=())
    network = Ensemble([PixNet(config, 4, encoder_weights=None)]).eval()
    reference = raster(network)
    found = raster(network, compile=True, tile_size=104)
    assert_close(found, reference)


def test_without_a_compiler_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config, "fx_graph_cache", False)
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(PixnetRuntimeError, match="compiler.*compile=False"):
        compiled(lambda image: image.square() + 1)(torch.ones(1, 3, 4, 4))


def test_the_network_is_left_as_it_was(network: Ensemble) -> None:
    before = {key: (value.clone(), value.stride()) for key, value in network.state_dict().items()}
    with placed(network, "cpu"):
        pass
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key][0])
        assert value.stride() == before[key][1]


def test_what_cannot_be_is_refused(network: Ensemble) -> None:
    with pytest.raises(PixnetValueError, match="at least 1; got 0 and None"):
        resolve(network, tile_size=0)
    assert resolve(network, device="cuda:1").batch_size > 1
    assert resolve(network, device="cpu", tile_size=100).tile_px == 104


def test_what_fails_after_a_block_leaves_the_network_as_it_was() -> None:
    """A traceback keeps the generator alive, as the last one does in a notebook."""
    cnn = NetworkConfig(encoder="resnet10t", decoder="pixel", widths=(8,), programmes=3, stain=False, context_um=())
    network = Ensemble([PixNet(cnn, 4, encoder_weights=None)]).eval()
    before = set(network.state_dict())
    picture, how = Picture(da.from_array(PIXELS)), resolve(network, device="cpu", tile_size=64)
    blocks = predict_blocks(network, picture, plan_tiles(network, picture, how), how)
    next(blocks)
    assert not torch.is_inference_mode_enabled()
    blocks.close()
    assert set(network.state_dict()) == before
