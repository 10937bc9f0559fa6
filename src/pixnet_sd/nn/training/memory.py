"""How a step of a training is split so that its memory has a bound. Torch only."""

from __future__ import annotations

import torch

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd.nn.device import copied_to
from pixnet_sd.nn.inference.memory import MemoryAccount
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.dataset import ShapeDataset

# A step that would take more is computed in parts, each of them twice: once for the loss, once for its gradient.
STEP_LIMIT = 2**32


def crops_at_once(
    network: PixNet, dataset: ShapeDataset, config: TrainConfig, device: torch.device | str
) -> int | None:
    """Return how many crops may be in memory with all that their gradient needs; None for a whole batch."""
    if dataset.samples is not None or not dataset.crops:
        return None
    side = dataset.crops[0].window.height
    needed = crop_bytes(network, side, cached=dataset.cache is not None)
    if min(config.crops, len(dataset.crops)) * needed <= STEP_LIMIT:
        return None
    check_memory(needed, side, device)
    return max(1, STEP_LIMIT // needed)


def crop_bytes(network: PixNet, crop_px: int, *, cached: bool) -> int:
    """Count what a crop and its gradient allocate, on a copy without memory; from the features on, if `cached`."""
    twin, account = copied_to(network, "meta").train(), MemoryAccount()
    if not cached:
        image = torch.empty(1, 3, *[crop_px + 2 * network.rim] * 2, device="meta")
        with account:
            twin(image)
        return account.made + account.peak
    sources = network.features.sources
    maps = [torch.empty(1, s.channels, *[crop_px // s.stride] * 2, device="meta") for s in sources]
    with account:
        twin.decode(maps)
    return account.made + account.peak + sum(4 * one.numel() for one in maps)


def check_memory(needed: int, crop_px: int, device: torch.device | str) -> None:
    """Check, before the work, that the device has room for one crop."""
    free = free_bytes(torch.device(device))
    if free is not None and needed > free:
        raise PixnetRuntimeError(
            f"One crop of {crop_px} x {crop_px} px takes {needed:,} bytes in a training step, and {free:,} are free on "
            f'{device}. Use the decoder "pixel" on a frozen encoder, which samples pixels, a smaller context_um, or '
            "smaller widths."
        )


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device; None where torch cannot tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    import psutil

    return int(psutil.virtual_memory().available)
