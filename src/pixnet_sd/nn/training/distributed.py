"""Train one network in several processes, each on a part of every batch, started by `torchrun`. Torch only.

Pooled programs are gathered before the loss, so the loss is that of the whole batch in every process, and
correlations are over all its shapes. Gradients are then averaged: before the gathering each process has its own part,
counted once for every process; after it, all have the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def process_rank() -> int:
    return dist.get_rank() if is_distributed() else 0


def process_count() -> int:
    return dist.get_world_size() if is_distributed() else 1


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def gather_rows(part: Tensor, places: Tensor, total: int) -> Tensor:
    """Gather rows (n, K) of all processes at their places among all (total, K)."""
    if not is_distributed():
        return part
    from torch.distributed.nn.functional import all_reduce

    if torch.is_grad_enabled() and not part.requires_grad:
        part = part.requires_grad_()  # without rows of its own, a process still takes part in the backward pass
    whole = part.new_zeros(total, part.shape[1]).index_copy(0, places, part)
    return all_reduce(whole)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes."""
    if not is_distributed():
        return
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        dist.all_reduce(parameter.grad)
        parameter.grad /= process_count()
