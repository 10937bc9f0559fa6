"""A model as LazySlide takes it: the same map where a tile sees enough, its genes by name, in its place."""

import numpy as np
import pytest
import torch

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet

GENES = ["EPCAM", "VIM", "CD3E", "COL1A1"]


@pytest.fixture
def model() -> Model:
    config = NetworkConfig(
        encoder="stain", widths=(8, 8, 8, 8), programs=3, context_um=(), mpp=0.5, stride=4, decoder="safb"
    )
    members = [PixNet(config, len(GENES), encoder_weights=None) for _ in range(2)]
    return Model(members, GENES, Card("tiny"))


def expected(model: Model, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        programs = model.network(image)
    genes = torch.einsum("bkyx,kg->bgyx", programs, model.network.loadings)
    return genes + model.network.intercept[:, None, None]


def test_where_a_tile_sees_enough_the_map_is_exact(model: Model) -> None:
    network = model.network
    side = 4 * network.margin
    image = torch.rand(2, 3, side, side)
    inside = slice(network.margin // network.stride, -(network.margin // network.stride))
    found = ps.MarkerMap(model).predict(image)
    assert found.shape == (2, len(GENES), side // network.stride, side // network.stride)
    assert torch.allclose(found[..., inside, inside], expected(model, image)[..., inside, inside], atol=1e-5)


def test_a_tile_of_one_color_has_no_border(model: Model) -> None:
    """It goes on beyond its borders as it is, so all of it is the same."""
    image = torch.full((1, 3, 48, 64), 0.6)
    found = ps.MarkerMap(model).predict(image)
    assert found.std(dim=(2, 3)).max() < 1e-5


def test_channels_are_the_genes_asked_for(model: Model) -> None:
    image = torch.rand(1, 3, 64, 64)
    every, some = ps.MarkerMap(model), ps.MarkerMap(model, ["CD3E", "EPCAM"])
    assert every.channel_names == tuple(GENES)
    assert some.channel_names == ("CD3E", "EPCAM")
    assert torch.allclose(some.predict(image), every.predict(image)[:, [2, 0]])
    assert ps.MarkerMap(model, "VIM").channel_names == ("VIM",)
    assert some.output_mpp == model.mpp * model.network.stride
    with pytest.raises(PixnetKeyError, match=r"1 of 2 genes are not in model 'tiny', e.g. \['NOPE'\]"):
        ps.MarkerMap(model, ["VIM", "NOPE"])


def test_tiles_that_do_not_fit_the_stride_are_refused(model: Model) -> None:
    with pytest.raises(PixnetValueError, match="multiples of 4"):
        ps.MarkerMap(model).predict(torch.rand(1, 3, 64, 66))


def test_pixels_become_the_colors_that_the_network_takes(model: Model) -> None:
    tile = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    taken = ps.MarkerMap(model).get_transform()(tile)
    assert taken.shape == (3, 8, 12)
    assert np.allclose(taken.permute(1, 2, 0) * 255, tile, atol=1e-4)


def test_it_is_what_lazyslide_asks_for(model: Model) -> None:
    lazyslide_models = pytest.importorskip("lazyslide_models", reason="lazyslide-models is not installed")
    markers = ps.MarkerMap(model)
    assert isinstance(markers, lazyslide_models.MarkerMapModelProtocol)
    assert not isinstance(markers, lazyslide_models.VirtualStainModelProtocol)
    wanted = {name for name in dir(lazyslide_models.MarkerMapModel) if not name.startswith("_")}
    only_for_listing = {"estimate_flops", "estimate_param_size"}
    assert wanted - only_for_listing <= set(dir(markers))


def test_where_it_computes_is_not_where_the_model_is(model: Model) -> None:
    """On the device without values, which every machine has."""
    moved = ps.MarkerMap(model).to("meta")
    assert moved.predict(torch.rand(1, 3, 64, 64, device="meta")).shape == (1, len(GENES), 16, 16)
    assert {tensor.device.type for tensor in model.network.state_dict().values()} == {"cpu"}
