"""A model file: what is saved comes back, and everything else is refused by name."""

import hashlib
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import safetensors.torch
import torch

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet, ReceptiveField

GENES = ("ESR1", "ERBB2", "CD3E")


def member(seed: int = 0, genes: int = 3, **changes) -> PixNet:
    torch.manual_seed(seed)
    coarse: dict[str, Any] = {"mpp": 0.5, "stride": 4, "decoder": "safb"}
    config = NetworkConfig(
        **{"encoder": "stain", "widths": (4, 4), "programs": 2, "context_um": (), **coarse, **changes}
    )
    return PixNet(config, genes, reach=ReceptiveField(64, 0))


def make(members: int = 1, **changes) -> Model:
    card = Card("toy", tissue="breast", scores={"ESR1": 0.5, "ERBB2": 0.3}, validation="section C4")
    values = {"ensembl": ("ENSG1", "ENSG2", "ENSG3"), "library_size": 1e4, "history": {"loss": [2.0, 1.0]}}
    return Model([member(seed) for seed in range(members)], GENES, card, **{**values, **changes})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    make(2).save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, **changes) -> None:
    values = json.loads((folder / "model.json").read_text())
    values.update(changes)
    kept = {key: value for key, value in values.items() if value is not ...}
    (folder / "model.json").write_text(json.dumps(kept))


def replace_weights(folder: Path, change) -> None:
    tensors = safetensors.torch.load_file(folder / "weights.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "weights.safetensors")
    edit(folder, sha256=hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest())


def test_what_is_saved_comes_back(saved):
    model, image = make(2), torch.rand(1, 3, 16, 24)
    loaded = Model.load(saved)
    with torch.inference_mode():
        assert torch.equal(loaded.network(image), model.network(image))
    assert loaded.sha256 == model.sha256
    assert loaded.description() == model.description()
    np.testing.assert_array_equal(loaded.loadings, model.loadings)


def test_a_model_predicts_as_it_was_trained_to_not_as_it_trains(saved):
    assert not Model.load(saved).network.training


def test_an_ensemble_is_the_mean_of_its_members():
    model, image = make(3), torch.rand(2, 3, 16, 16)
    network = model.network
    with torch.inference_mode():
        together = network(image).mean((2, 3)) @ network.loadings
        alone = [one(image).mean((2, 3)) @ one.loadings for one in network.members]
        ours = [network(image)[:, part] for part in network.programs_of_members]
    torch.testing.assert_close(together, torch.stack(alone).mean(0))
    with torch.inference_mode():
        assert torch.equal(ours[1], network.members[1](image))


def test_members_must_agree():
    with pytest.raises(PixnetValueError, match="same stride, unit and um/px"):
        Model([member(), member(mpp=1.0)], GENES, Card("toy"))
    with pytest.raises(PixnetValueError, match="one or more"):
        Model([], GENES, Card("toy"))


def test_genes_must_fit_and_be_unique():
    with pytest.raises(PixnetValueError, match=r"repeated: \['ESR1'\]"):
        Model([member()], ("ESR1", "ESR1", "CD3E"), Card("toy"))
    with pytest.raises(PixnetValueError, match="predict 3 genes, but `genes` has 2"):
        Model([member()], ("ESR1", "CD3E"), Card("toy"))
    with pytest.raises(PixnetValueError, match="`ensembl` has 1"):
        Model([member()], GENES, Card("toy"), ensembl=("ENSG1",))


def test_an_existing_model_is_not_overwritten_by_accident(saved):
    with pytest.raises(PixnetValueError, match="overwrite=True"):
        make().save(saved)
    make().save(saved, overwrite=True)
    assert len(Model.load(saved).network.members) == 1
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "weights.safetensors"]


def test_a_stop_between_the_two_files_is_noticed(saved):
    other = saved.parent / "other"
    make(1).save(other)
    (other / "weights.safetensors").replace(saved / "weights.safetensors")
    with pytest.raises(PixnetValueError, match="do not belong together"):
        Model.load(saved)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_weights(saved, share):
    path = saved / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(PixnetValueError, match="truncated"):
        Model.load(saved)


def test_a_truncated_description(saved):
    path = saved / "model.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(PixnetValueError, match="not the JSON of a model"):
        Model.load(saved)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version(saved, version):
    edit(saved, version=version)
    with pytest.raises(PixnetValueError, match="this release reads 1"):
        Model.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "something"}, '"format": "pixnet-sd model"'),
        ({"surprise": 1}, r"unknown keys \['surprise'\]"),
        ({"mpp": ...}, r"lacks \['mpp'\]"),
        ({"mpp": 2.0}, "`mpp` is 2.0, but its networks have 0.5"),
        ({"unit": "log1p"}, "`unit` is 'log1p'"),
        ({"genes": ["A", "B"], "ensembl": None}, "tensors"),
        ({"genes": ["A", "B", "B"]}, "unique"),
        ({"genes": None}, "does not describe a model"),
        ({"members": []}, "one or more networks"),
        ({"members": [{"margin": 8, "rim": 0}]}, "does not describe a model: 'network'"),
        ({"card": {"color": "red"}}, "color"),
    ],
)
def test_a_description_that_is_wrong(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(PixnetValueError, match=message):
        Model.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("members.0.head.log_dispersion"), "lacks 1 tensors"),
        (lambda t: t.update(extra=torch.zeros(1)), r"unknown 1 tensors: \['extra'\]"),
        (lambda t: t.update({"members.0.head.log_dispersion": torch.zeros(4)}), r"\(4,\).*not \(3,\)"),
        (lambda t: t.update({"members.0.head.log_dispersion": torch.zeros(3).half()}), "float16"),
        (lambda t: t["members.0.head.log_dispersion"].fill_(torch.nan), "not finite"),
    ],
)
def test_weights_that_are_wrong(saved, change, message):
    replace_weights(saved, change)
    with pytest.raises(PixnetValueError, match=message):
        Model.load(saved)


def test_a_pickle_or_a_zip_is_never_opened(saved, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(PixnetValueError, match="is a pickle"):
        Model.load(path)
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("../outside", "x")
    with pytest.raises(PixnetValueError, match="is a zip archive"):
        Model.load(tmp_path / "model.zip")
    torch.save({"a": torch.zeros(1)}, saved / "weights.safetensors")
    with pytest.raises(PixnetValueError, match="is a zip archive"):
        Model.load(saved)


def test_a_name_that_is_nothing(tmp_path):
    with pytest.raises(PixnetValueError, match="There is no model at"):
        Model.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PixnetValueError, match=r"no model\.json"):
        Model.load(tmp_path / "empty")


@pytest.fixture
def hub(saved, tmp_path, monkeypatch) -> str:
    """The cache of a hub that cannot be reached, with one revision in it."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "hub" / "models--org--name" / "snapshots" / commit
    folder.parent.mkdir(parents=True)
    saved.replace(folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return commit


def test_a_hub_model_of_a_pinned_revision(hub):
    assert Model.load(f"hf-hub:org/name@{hub}").genes == GENES


def test_a_hub_model_without_a_revision_is_refused(hub):
    with pytest.raises(PixnetValueError, match="org/name@revision"):
        Model.load("hf-hub:org/name")


def test_a_hub_revision_that_cannot_be_had(hub):
    with pytest.raises(PixnetRuntimeError, match="Could not fetch hf-hub:org/name@ffff"):
        Model.load("hf-hub:org/name@ffff")


def test_the_repr_says_on_one_screen_what_matters():
    text = repr(make(2))
    lines = text.splitlines()
    assert len(lines) < 15
    assert max(map(len, lines)) < 120
    for fact in ("'toy'", "3 (ESR1, ERBB2, CD3E)", "counts/um2", "0.5 um/px", "2 members", "0.400", "section C4"):
        assert fact in text


def test_the_html_repr_escapes_what_a_file_says():
    model = Model([member()], GENES, Card("<script>alert(1)</script>", data="<b>"))
    assert "<script>" not in model._repr_html_()
    assert "&lt;b&gt;" in model._repr_html_()


def test_a_card_cannot_write_lines_or_escape_codes_of_its_own():
    text = "liver\x1b[2K\nheld-out  Pearson 0.99\u202e"
    model = make()
    told = Model(list(model.network.members), GENES, Card(text, tissue=text, data=text, limits=text, license=text))
    assert len(repr(told).splitlines()) == len(repr(model).splitlines())
    for shown in (repr(told).replace("\n", ""), told._repr_html_()):
        assert shown.isprintable()
        assert "\\x1b[2K" in shown


def test_saving_follows_no_link(tmp_path):
    precious, folder = tmp_path / "precious", tmp_path / "model"
    precious.write_text("precious")
    folder.mkdir()
    for name in ("weights.safetensors", "model.json"):
        (folder / f"{name}.partial").symlink_to(precious)
    make().save(folder)
    assert precious.read_text() == "precious"
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert Model.load(folder).sha256 == make().sha256


def test_the_weights_are_hashed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = make()
    model.save(tmp_path / "model")
    once = model.sha256
    monkeypatch.setattr(Model, "weights", None)
    assert once in repr(model)
    assert once in repr(Model.load(tmp_path / "model"))
