"""Which backend is chosen, and what is refused."""

import pytest
import tiny

import pixnet_sd as ps
from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd.nn.inference import backends
from pixnet_sd.nn.inference.predict import resolve_inference

NETWORK = tiny.model(["a"]).network


def choose(installed: bool, monkeypatch: pytest.MonkeyPatch, **asked) -> str:
    monkeypatch.setattr(backends, "has_openvino", lambda: installed)
    return resolve_inference(NETWORK, **asked).backend


def test_openvino_is_chosen_on_cpus_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(True, monkeypatch, device="cpu") == "openvino"
    assert choose(False, monkeypatch, device="cpu") == "torch"
    assert choose(True, monkeypatch, device="cuda") == "torch"
    assert choose(True, monkeypatch, device="cpu", compile=True) == "torch"
    assert choose(True, monkeypatch, device="cpu", backend="torch") == "torch"


def test_an_argument_comes_before_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ps.settings, "backend", "torch")
    assert choose(True, monkeypatch, device="cpu") == "torch"
    assert choose(True, monkeypatch, device="cpu", backend="auto") == "openvino"


def test_openvino_brings_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_openvino", lambda: True)
    assert resolve_inference(NETWORK, backend="openvino").device == "cpu"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"backend": "onnx"}, "is none of auto, torch, openvino"),
        ({"backend": "openvino", "device": "cuda"}, "device='cuda'"),
        ({"backend": "openvino", "compile": True}, "compile=True"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict, told: str) -> None:
    with pytest.raises(PixnetValueError, match=told):
        resolve_inference(NETWORK, **asked)


def test_a_backend_that_is_not_installed_is_named_before_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_openvino", lambda: False)
    sdata = ps.datasets.toy(size_px=256)
    with pytest.raises(PixnetRuntimeError, match=r"pixnet-sd\[fast\]"):
        ps.tl.predict(sdata, model=tiny.model(["a"]), backend="openvino")
