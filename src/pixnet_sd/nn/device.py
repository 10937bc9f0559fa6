"""Which device the work runs on, and whether it is there. Torch only."""

from __future__ import annotations

import torch

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_name(device: str | torch.device) -> str:
    """The name of a device, which may be one of another machine."""
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise PixnetValueError(f"device={device!r} is not the name of a device. {advice()}") from error
    if kind == "meta":
        raise PixnetValueError(f"device={device!r} computes nothing. {advice()}")
    return str(device)


def require_device(device: str | torch.device) -> str:
    """The name of a device that this machine has; asked before long work begins."""
    name = check_name(device)
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA at all asserts
        reason = str(error).partition("\n")[0]
        raise PixnetRuntimeError(f"There is no device {name!r} here ({reason}). {advice()}") from error
    return name


def advice() -> str:
    return f'Give "cpu", "cuda", "cuda:1" or "mps"; the fastest here is "{best_device()}".'
