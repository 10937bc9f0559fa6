"""Which program runs a network: torch, or OpenVINO, which is faster on CPUs. Knows only their names."""

from __future__ import annotations

from importlib.util import find_spec

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._settings import settings

BACKENDS = ("auto", "torch", "openvino")


def find_backend(asked: str | None) -> str:
    """Return the backend that is asked for, by an argument or by the settings; "auto" is not resolved."""
    backend = settings.backend if asked is None else asked
    if backend not in BACKENDS:
        raise PixnetValueError(f"backend={backend!r} is none of {', '.join(BACKENDS)}.")
    return backend


def choose_backend(backend: str, device: str, *, compile: bool) -> str:
    """Resolve "auto": OpenVINO on a CPU where it is installed, unless torch is to compile the network."""
    suits = device.startswith("cpu") and not compile
    if backend == "openvino" and not suits:
        raise PixnetValueError(
            f'backend="openvino" runs on CPUs and compiles by itself; asked were device={device!r} and '
            f'compile={compile}. Pass device="cpu" and compile=False, or backend="torch".'
        )
    if backend != "auto":
        return backend
    return "openvino" if suits and has_openvino() else "torch"


def has_openvino() -> bool:
    return find_spec("openvino") is not None


def check_backend(backend: str) -> None:
    """Check that a backend is installed here, before long work begins."""
    if backend == "openvino" and not has_openvino():
        raise PixnetRuntimeError(
            'backend="openvino" needs the package openvino, which is not installed here. Install '
            '"pixnet-sd[fast]", or pass backend="torch".'
        )
