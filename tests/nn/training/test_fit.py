"""Training learns what can be learnt, nothing else, and the same every time."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nn.painted import silent, slide

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.slides import Slide
from pixnet_sd.nn.training import checkpoint, fit
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.fit import count_ratios, train_pixnet
from pixnet_sd.nn.training.loop import gene_scores
from pixnet_sd.nn.training.loss import RateLoss
from pixnet_sd.nn.training.prepare import cached_datasets, decoder_margin, training_datasets
from pixnet_sd.nn.training.state import TrainState, learning_rate_factor

NETWORK = NetworkConfig(
    encoder="stain", levels=None, decoder="pixel", widths=(8,), programs=3, context_um=(20.0,), stride=8, mpp=0.5
)
CONFIG = TrainConfig(network=NETWORK, steps=48, crops=32, feature_dropout=0.0, dropout=0.0, lr=2e-2)


def train(
    slides: list[Slide],
    config: TrainConfig = CONFIG,
    validation: Sequence[Slide] = (),
    model: Model | None = None,
    folder: Path | None = None,
) -> Model:
    genes = list("ABCN")[: slides[0].measured[0].counts.shape[1]]
    card = Card("x", validation="test")
    return train_pixnet(
        slides, validation, genes, config, card, model=model, folder=folder, device="cpu", progress=silent
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return train([slide(0), slide(1)], validation=(slide(2),))


def test_what_is_visible_is_learnt_and_noise_is_not() -> None:
    model = train([slide(0), slide(1)], replace(CONFIG, steps=96), (slide(2),))
    scores = model.card.scores
    assert min(scores["A"], scores["B"], scores["C"]) > 0.8
    assert abs(scores["N"]) < 0.35
    assert model.unit == "counts/um2"
    assert (model.loadings >= 0).all()
    np.testing.assert_allclose(model.loadings.sum(axis=1), 1, rtol=1e-5)


def test_expected_counts_add_up_to_those_measured() -> None:
    """Also where much was left out at random while it learnt."""
    sets = [slide(0), slide(1)]
    model = train(sets, replace(CONFIG, feature_dropout=0.5, dropout=0.5))
    network = model.network.members[0]
    with cached_datasets(network, sets, "cpu", silent) as ready:
        ratios = count_ratios(network, training_datasets(ready), "cpu")
    np.testing.assert_allclose(ratios, 1, atol=0.02)


def test_depth_of_a_section_is_not_learnt_as_a_rate() -> None:
    once = replace(CONFIG, steps=8)
    shallow = train([slide(0), slide(1, depth=0.25)], once)
    deep = train([slide(0), slide(1)], once)
    assert shallow.library_size == pytest.approx(500, rel=0.05)
    assert deep.library_size == pytest.approx(1000, rel=0.05)


def test_the_history_is_in_the_model(model: Model) -> None:
    assert set(model.history) == {"loss 1", "validation 1"}
    assert model.history["loss 1"][-1] < model.history["loss 1"][0]


def test_seeds_reproduce_and_differ() -> None:
    short = replace(CONFIG, steps=8)
    one, again, other = (train([slide(0)], replace(short, seed=seed)) for seed in (0, 0, 1))
    assert one.sha256 == again.sha256 != other.sha256


def shuffled(number: int, seed: int) -> Slide:
    one = slide(number)
    order = np.random.default_rng(seed).permutation(100)
    measured = replace(one.measured[0], counts=one.measured[0].counts[order], totals=one.measured[0].totals[order])
    return replace(one, measured=(measured,))


def test_shuffled_counts_score_nothing() -> None:
    """Only one thing varies on a slide, so one shuffle scores some, by chance up or down; together they cancel.

    The slide that is scored has not chosen an epoch: the best of several by chance is above zero.
    """
    few, means = replace(CONFIG, steps=24), []
    for seed in range(4):
        model = train([shuffled(0, seed), shuffled(1, seed + 10)], few)
        members = list(model.network.members)
        with cached_datasets(members[0], [slide(2)], "cpu", silent) as sets:
            means.append(gene_scores(members, sets[0], "cpu")[:3].mean())
    assert abs(np.mean(means)) < 0.35, means


@pytest.mark.parametrize(("decoder", "head"), [("safb", "rate"), ("safb", "log"), ("pixel", "log")])
def test_the_paper_s_recipe_and_its_parts_train(decoder: str, head: str) -> None:
    network = replace(NETWORK, decoder=decoder, head=head, widths=(8, 8, 8, 8))
    model = train([slide(0)], replace(CONFIG, network=network, steps=24))
    assert model.history["loss 1"][-1] < model.history["loss 1"][0]


def test_one_batch_can_be_overfitted() -> None:
    few = [replace(one, measured=(one.measured[0].take(np.arange(8)),)) for one in (slide(0), slide(1))]
    network = replace(NETWORK, widths=(32,), programs=8)
    random = replace(CONFIG, network=network, steps=300, lr=5e-2, weight_decay=0.0, ema=0.0)
    fitted = train(few, random, few)
    assert min(fitted.card.scores.values()) > 0.9


@pytest.mark.parametrize("changes", [{"augment": True}, {"encoder": "all"}])
def test_a_network_that_reads_pictures_trains(changes: dict) -> None:
    network = replace(NETWORK, encoder="tf_efficientnet_lite0", levels=(0,), context_um=())
    config = replace(CONFIG, network=network, steps=6, crops=4, **changes)
    one = slide(0)
    few = replace(one, measured=(one.measured[0].take(np.arange(12)),))
    trained, again = train([few], config), train([few], config)
    assert trained.sha256 == again.sha256
    before = fit.PixNet(network, 4, encoder_weights=None, reach=trained.network.members[0].reach)
    torch.manual_seed(config.seed)
    before = fit.PixNet(network, 4, encoder_weights=None)
    moved = any(
        not torch.equal(new, old)
        for new, old in zip(trained.network.members[0].encoder.parameters(), before.encoder.parameters(), strict=True)
    )
    assert moved == (config.encoder == "all")


def test_members_predict_together() -> None:
    model = train([slide(0)], replace(CONFIG, steps=8, members=2))
    assert model.loadings.shape == (6, 4)
    assert {"loss 1", "loss 2"} == set(model.history)


def test_a_model_is_trained_further(model: Model) -> None:
    before = model.sha256
    further = train([slide(3)], replace(CONFIG, steps=4, lr=1e-9, ema=0.0), model=model)
    here, there = (one.network.state_dict()["members.0.decoder.readout.projection"] for one in (model, further))
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-6)
    assert model.sha256 == before


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, steps=12, members=2, dropout=0.2)
    straight = train([slide(0)], config, (slide(2),))
    stored = checkpoint.save_checkpoint
    for rounds in (2, 2):
        left = iter(range(rounds))

        def store_some(path: Path, run: TrainState, identity: dict, left=left) -> None:
            if next(left, None) is None:
                raise Interrupted
            stored(path, run, identity)

        monkeypatch.setattr(checkpoint, "save_checkpoint", store_some)
        with pytest.raises(Interrupted):
            train([slide(0)], config, (slide(2),), folder=tmp_path)
    monkeypatch.setattr(checkpoint, "save_checkpoint", stored)
    resumed = train([slide(0)], config, (slide(2),), folder=tmp_path)
    assert resumed.sha256 == straight.sha256
    assert resumed.history == straight.history


def test_another_run_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    short = replace(CONFIG, steps=4)
    train([slide(0)], short, folder=tmp_path)
    with pytest.raises(PixnetValueError, match="lr: 0.02 then, 0.03 now"):
        train([slide(0)], replace(short, lr=0.03), folder=tmp_path)
    with pytest.raises(PixnetValueError, match="other sections"):
        train([slide(1)], short, folder=tmp_path)
    (tmp_path / "member_1.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(PixnetValueError, match="not a checkpoint"):
        train([slide(0)], short, folder=tmp_path)


def test_a_checkpoint_of_another_start_is_refused(tmp_path: Path) -> None:
    short = replace(CONFIG, steps=4)
    first, other = (train([slide(0)], replace(short, seed=seed)) for seed in (1, 2))
    train([slide(0)], short, folder=tmp_path, model=first)
    with pytest.raises(PixnetValueError, match="began with other weights"):
        train([slide(0)], short, folder=tmp_path, model=other)


@pytest.mark.parametrize("likelihood", ["poisson", "multinomial"])
def test_a_loss_that_leaves_a_parameter_out_has_checkpoints_too(tmp_path: Path, likelihood: str) -> None:
    config = replace(CONFIG, steps=4, rate=RateLoss(likelihood=likelihood))
    straight = train([slide(0)], config, folder=tmp_path)
    assert train([slide(0)], config, folder=tmp_path).sha256 == straight.sha256


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(PixnetRuntimeError, match=r"diverged in epoch \d+.*Lower lr=1000000"):
        train([slide(0)], replace(CONFIG, steps=40, lr=1e6))


def test_members_with_encoders_of_their_own_are_not_trained_on_one_encoders_features() -> None:
    model = train([slide(0)], replace(CONFIG, steps=4, members=2))
    model.network.shares_features = False
    with pytest.raises(PixnetValueError, match=r"encoders of their own.*encoder=\"all\""):
        train([slide(0)], replace(CONFIG, steps=4, members=2), model=model)


def test_what_tells_how_far_a_decoder_sees_is_computed_where_the_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device "meta" stands for a GPU."""
    network, seen = PixNet(NETWORK, 4, encoder_weights=None), []
    monkeypatch.setattr(
        "pixnet_sd.nn.training.prepare.measure_margin",
        lambda _, decode, *__: seen.append(decode(torch.ones(1, 3, 64, 64))),
    )
    decoder_margin(network.to("meta"))
    assert seen[0].device.type == "meta"


def test_features_that_do_not_fit_on_the_disk_are_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(PixnetRuntimeError, match=r"Features of .* up to [\d,]{6,} bytes, and 1,000 are free.*TMPDIR"):
        train([slide(0)], replace(CONFIG, steps=2))


def test_the_rate_of_learning_rises_and_falls() -> None:
    curve = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert np.argmax(curve) in (9, 10)
    assert curve[0] == pytest.approx(0.1)
    assert curve[-1] < 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"lr": 0.0},
        {"ema": 1.0},
        {"dropout": 1.0},
        {"members": 0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(PixnetValueError):
        TrainConfig(**wrong)


@pytest.mark.filterwarnings("error")
def test_one_gene_is_learnt_and_scored_as_a_rate() -> None:
    """Its share among the model's genes is 1 everywhere, which said nothing and scored nothing."""
    one, other = (only(slide(number), [0]) for number in (0, 1))
    model = train([one], CONFIG, (other,))
    assert model.card.scores["A"] > 0.8
    assert np.isfinite(model.history["validation 1"]).all()
    assert model.card.validation == "test; compared as a rate: one gene has no profile"


def test_few_genes_say_on_the_card_what_their_profile_allows() -> None:
    """A and the square of it rise and fall together: their shares hardly vary."""
    one, other = (only(slide(number), [0, 2]) for number in (0, 1))
    model = train([one], replace(CONFIG, steps=8), (other,))
    assert "; as shares among 2 genes, for which the measured counts themselves would score 0." in model.card.validation


def only(one: Slide, genes: list[int]) -> Slide:
    measured = one.measured[0]
    return replace(one, measured=(replace(measured, counts=measured.counts[:, genes]),))
