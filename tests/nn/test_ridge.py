"""Features, exactly pooled, and a ridge: what is pooled is what the dense map pools to."""

from dataclasses import replace

import numpy as np
import torch
from nn.painted import silent, slide

from pixnet_sd._aggregate import aggregate
from pixnet_sd.nn.model import Card
from pixnet_sd.nn.network import NetworkConfig, PixNet
from pixnet_sd.nn.pooled import blocks_of, pool_slides
from pixnet_sd.nn.prepared import decoder_margin, prepared
from pixnet_sd.nn.readout import Readout
from pixnet_sd.nn.ridge import train_ridge
from pixnet_sd.nn.tiling import to_unit

CONFIG = NetworkConfig(encoder="stain", levels=None, decoder="readout", head="log", programmes=4, context_um=(20.0,))


def test_pooled_features_are_the_means_of_the_dense_map() -> None:
    network = PixNet(CONFIG, 4, encoder_weights=None).eval()
    assert isinstance(network.decoder, Readout)
    one = slide(0)
    with prepared(network, [one], "cpu", silent) as ready:
        pooled = pool_slides(network, network.decoder, ready, "cpu")
    margin = network.margin
    window = one.picture.grid.window.grow(margin)
    with torch.inference_mode():
        dense = network.decoder.dense(network.features(to_unit(one.picture.read(window)[None], "cpu")))[0].numpy()
    inner = dense[:, margin // 4 : margin // 4 + 64, margin // 4 : margin // 4 + 64]
    expected = aggregate(inner, one.measured[0].shapes.scaled(1 / 4), "mean").values
    np.testing.assert_allclose(pooled.features, expected, rtol=5e-3, atol=5e-3)


def test_model_predicts_what_is_visible_and_says_how_well() -> None:
    model = train_ridge(
        [slide(0), slide(1)], ["A", "B", "C", "N"], CONFIG, Card("test"), encoder_weights=None, device="cpu", bar=silent
    )
    scores = model.card.scores
    assert min(scores["A"], scores["B"], scores["C"]) > 0.8
    assert abs(scores["N"]) < 0.35
    assert model.unit == "log1p"
    assert "2 sections" in model.card.validation


def test_shuffled_counts_score_nothing() -> None:
    one = slide(0)
    order = np.random.default_rng(5).permutation(100)
    measured = replace(one.measured[0], counts=one.measured[0].counts[order], totals=one.measured[0].totals[order])
    mixed = replace(one, measured=(measured,))
    model = train_ridge([mixed], list("ABCN"), CONFIG, Card("x"), encoder_weights=None, device="cpu", bar=silent)
    assert abs(np.mean(list(model.card.scores.values()))) < 0.2


def test_the_same_data_give_the_same_model() -> None:
    one, two = (
        train_ridge([slide(0)], list("ABCN"), CONFIG, Card("x"), encoder_weights=None, device="cpu", bar=silent)
        for _ in range(2)
    )
    assert one.sha256 == two.sha256


def test_blocks_share_out_a_section_evenly() -> None:
    places = np.random.default_rng(0).uniform(0, 1, (400, 2))
    assert np.bincount(blocks_of(places)).tolist() == [100, 100, 100, 100]


def test_decoder_margin_is_small_and_measured() -> None:
    network = PixNet(CONFIG, 4, encoder_weights=None).eval()
    assert 0 < decoder_margin(network) <= network.margin
