"""Blocks of programs do not depend on how a picture is worked through, and each costs one run of the network."""

import functools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
from precision import assert_close
from torch import Tensor

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._raster.picture import Picture
from pixnet_sd.nn.inference.predict import (
    apply_view,
    compile_network,
    for_inference,
    plan_tiles,
    predict_blocks,
    resolve_inference,
    rotated_views,
    undo_view,
)
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.ensemble import Ensemble
from pixnet_sd.nn.network.network import PixNet

CONFIG = NetworkConfig(
    encoder="stain", widths=(8, 8, 8, 8), programs=3, context_um=(), mpp=0.5, stride=4, decoder="safb"
)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 150, 203), dtype=np.uint8)


@pytest.fixture
def network() -> Ensemble:
    return Ensemble([PixNet(CONFIG, 4, encoder_weights=None)]).eval()


def raster(network: Ensemble, *, chunk: int = 64, **options) -> np.ndarray:
    picture = Picture(da.from_array(PIXELS, chunks=(3, chunk, chunk)))
    how = resolve_inference(network, device="cpu", **options)
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
            torch.testing.assert_close(undo_view(apply_view(image, turns, mirror), turns, mirror), image)


def test_the_mean_of_views_turns_with_the_picture() -> None:
    """A network that prefers a direction loses that preference."""

    def rightward(image: Tensor) -> Tensor:
        return image.cumsum(-1)

    image = torch.rand(1, 2, 6, 6)
    mean = rotated_views(rightward)
    torch.testing.assert_close(mean(apply_view(image, 1, True)), apply_view(mean(image), 1, True))
    assert not torch.allclose(rightward(apply_view(image, 1, True)), apply_view(rightward(image), 1, True))


def test_views_do_not_depend_on_tiles(network: Ensemble) -> None:
    reference = raster(network, augment=True)
    assert np.abs(reference - raster(network)).max() > 1e-3 * reference.std()
    assert_close(raster(network, augment=True, tile_size=104), reference)


def test_the_graph_of_a_network_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch traces it for its compiler; `nox -s fuzz` compiles it too, which takes minutes."""
    config = NetworkConfig(encoder="stain", decoder="pixel", widths=(2,), programs=3, context_um=(), mpp=0.5, stride=4)
    network = Ensemble([PixNet(config, 4, encoder_weights=None)]).eval()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True))
    assert_close(raster(network, compile=True, tile_size=104), raster(network))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++, which is not here")
def test_what_is_compiled_gives_the_same_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # a pool of processes would start for nothing
    image = torch.rand(1, 3, 8, 8)
    assert_close(compile_network(lambda image: image.square() + 1)(image), image.square() + 1)


def test_without_a_compiler_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config, "fx_graph_cache", False)
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(PixnetRuntimeError, match="compiler.*compile=False"):
        compile_network(lambda image: image.square() + 1)(torch.ones(1, 3, 4, 4))


def test_a_network_for_inference_leaves_the_one_that_was_given_as_it_is() -> None:
    network = lived_in_cnn()
    before = {key: (value, value.clone(), value.stride()) for key, value in network.state_dict().items()}
    modules = list(network.modules())
    copy = for_inference(network, "cpu")
    assert not set(map(id, copy.modules())) & set(map(id, modules))
    assert len(copy.state_dict()) < len(before)
    assert list(network.modules()) == modules
    after = network.state_dict()
    assert after.keys() == before.keys()
    for key, (own, values, stride) in before.items():
        assert after[key].data_ptr() == own.data_ptr()
        assert torch.equal(after[key], values) and after[key].stride() == stride


def test_a_network_for_inference_shares_all_weights_but_those_of_convolutions() -> None:
    network = Ensemble([*lived_in_cnn().members, *lived_in_cnn().members]).eval()
    own = {tensor.data_ptr() for tensor in network.state_dict().values()}
    copy = for_inference(network, "cpu").state_dict().values()
    new = {tensor.data_ptr(): tensor.nbytes for tensor in copy if tensor.data_ptr() not in own}
    convolutions = {m.weight.data_ptr(): m for m in network.modules() if isinstance(m, torch.nn.Conv2d)}.values()
    assert sum(new.values()) <= sum(m.weight.nbytes + 4 * m.out_channels for m in convolutions)


def test_two_threads_with_one_network_give_what_each_gives_alone() -> None:
    """The second begins while the first is between two tiles, and goes on when the first has ended."""
    network = lived_in_cnn()
    picture, how = Picture(da.from_array(PIXELS)), resolve_inference(network, device="cpu", tile_size=64)
    plan = plan_tiles(network, picture, how)
    alone = [block for _, block in predict_blocks(network, picture, plan, how)]
    first, second = (predict_blocks(network, picture, plan, how) for _ in range(2))
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        found = one.submit(next, first).result(), other.submit(next, second).result()
        rest = one.submit(list, first).result(), other.submit(list, second).result()
    for begun, others in zip(found, rest, strict=True):
        for (_, block), expected in zip([begun, *others], alone, strict=True):
            np.testing.assert_array_equal(block, expected)


def test_what_cannot_be_is_refused(network: Ensemble) -> None:
    with pytest.raises(PixnetValueError, match="at least 1; got 0 and None"):
        resolve_inference(network, tile_size=0)
    assert resolve_inference(network, device="cuda:1").batch_size > 1
    assert resolve_inference(network, device="cpu", tile_size=100).tile_px == 104


def lived_in_cnn() -> Ensemble:
    """A CNN whose batch norms do something."""
    torch.manual_seed(0)
    config = NetworkConfig(
        encoder="resnet10t",
        decoder="pixel",
        widths=(8,),
        programs=3,
        stain=False,
        context_um=(),
        mpp=0.5,
        stride=4,
        fine=True,
        levels=(0, 1, 2, 3),
    )
    network = Ensemble([PixNet(config, 4, encoder_weights=None)]).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.5, 2)
    return network


def test_between_two_blocks_the_network_is_as_it_was() -> None:
    """A traceback keeps the generator alive, as the last one does in a notebook."""
    network = lived_in_cnn()
    before = set(network.state_dict())
    picture, how = Picture(da.from_array(PIXELS)), resolve_inference(network, device="cpu", tile_size=64)
    blocks = predict_blocks(network, picture, plan_tiles(network, picture, how), how)
    next(blocks)
    assert not torch.is_inference_mode_enabled()
    assert set(network.state_dict()) == before
    blocks.close()


def test_a_model_that_is_saved_while_it_predicts_is_the_same_model(tmp_path: Path) -> None:
    model = Model(lived_in_cnn().members, list("ABCD"), Card("cnn"))
    sha256, picture = model.sha256, Picture(da.from_array(PIXELS))
    how = resolve_inference(model.network, device="cpu", tile_size=64)
    blocks = predict_blocks(model.network, picture, plan_tiles(model.network, picture, how), how)
    next(blocks)
    model.save(tmp_path / "meanwhile")
    assert model.sha256 == sha256 == Model.load(tmp_path / "meanwhile").sha256
    blocks.close()
