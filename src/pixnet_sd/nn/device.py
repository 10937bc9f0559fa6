"""Choose and check a device, and copy networks to it. Torch only."""

from __future__ import annotations

import os
from copy import deepcopy
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._settings import logger

Network = TypeVar("Network", bound=nn.Module)


def best_device() -> str:
    """Name the fastest device of this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_name(device: str | torch.device) -> str:
    """Check the name of a device, which may be one of another machine."""
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise PixnetValueError(f"device={device!r} is not the name of a device. {device_advice()}") from error
    if kind == "meta":
        raise PixnetValueError(f"device={device!r} computes nothing. {device_advice()}")
    return str(device)


def check_device(device: str | torch.device) -> str:
    """Check that this machine has a device, before long work begins; return its name."""
    name = check_name(device)
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA at all asserts
        reason = str(error).partition("\n")[0]
        raise PixnetRuntimeError(f"There is no device {name!r} here ({reason}). {device_advice()}") from error
    return name


def copied_to(
    network: Network, device: str | torch.device, memory_format: torch.memory_format = torch.preserve_format
) -> Network:
    """Copy a network to a device. The given one is not modified, and other threads may use it meanwhile.

    Weights that have the device and the memory format already are shared by the two. Hooks are copied with the network.
    """
    tensors = chain(network.parameters(), network.buffers())
    return deepcopy(network, {id(tensor): move_tensor(tensor, device, memory_format) for tensor in tensors})


def move_tensor(tensor: Tensor, device: str | torch.device, memory_format: torch.memory_format) -> Tensor:
    """Move a parameter or a buffer; the memory format applies to images and their filters."""
    layout = memory_format if tensor.dim() == 4 else torch.preserve_format
    values = tensor.detach().to(device, memory_format=layout)
    return nn.Parameter(values, requires_grad=False) if isinstance(tensor, nn.Parameter) else values


def device_advice() -> str:
    return f'Give "cpu", "cuda", "cuda:1" or "mps"; the fastest here is "{best_device()}".'


# The process that loaded this file; another one is a fork of it.
LOADED_IN = os.getpid()


def one_thread_after_fork() -> None:
    """Limit torch to one thread in a forked process: it would wait forever for the others, which a fork lacks."""
    if os.getpid() != LOADED_IN and (threads := torch.get_num_threads()) > 1:
        logger.warning(
            "this process was forked from one that had loaded torch, whose %d threads a fork does not have: computing "
            "with one. Processes started by 'spawn' or 'forkserver' use all",
            threads,
        )
        torch.set_num_threads(1)
