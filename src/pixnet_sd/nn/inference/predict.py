"""Predict blocks of programs over a picture, one after another. Torch and numpy.

A block is the core of one tile. Blocks partition the raster, and none depends on the tiling or batching of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._raster.grid import Tile, Window, make_tiles, round_up
from pixnet_sd._raster.picture import Picture
from pixnet_sd.nn.device import best_device, check_device, check_name, copied_to
from pixnet_sd.nn.inference.backends import check_backend, choose_backend, find_backend
from pixnet_sd.nn.inference.fusing import fold_norms
from pixnet_sd.nn.inference.openvino import OpenvinoNetwork
from pixnet_sd.nn.inference.tiling import over_tiles
from pixnet_sd.nn.network.config import is_whole
from pixnet_sd.nn.network.ensemble import Ensemble
from pixnet_sd.nn.network.views import VIEWS, apply_view, undo_view

# Elsewhere 1024, which takes 1.2 GB on a CPU. 2048 takes 2 GB and 0.6 of the time: a smaller part is margin.
TILES_PX = {"cuda": 2048}
# Tiles at once where a device works in parallel; elsewhere one.
BATCHES = {"cuda": 8, "mps": 2}


@dataclass(frozen=True)
class InferenceConfig:
    """Options of inference. They change the result by no more than rounding."""

    device: str
    """"cpu", "cuda", "cuda:1", "mps"."""
    tile_px: int
    """Side of a tile's core, in pixels of the picture."""
    batch_size: int
    """Tiles at once."""
    augment: bool = False
    """Average over the eight rotations and reflections of each tile, at eight times the cost."""
    compile: bool = False
    """Compile the network with torch first, which takes minutes and pays on large slides."""
    backend: str = "torch"
    """"torch" or "openvino". Where OpenVINO cannot run a network, torch does, and a warning is logged."""


def resolve_inference(
    network: Ensemble,
    *,
    device: str | None = None,
    tile_size: int | None = None,
    batch_size: int | None = None,
    augment: bool = False,
    compile: bool = False,
    backend: str | None = None,
) -> InferenceConfig:
    """Check the options, and fill in defaults for the device."""
    wanted = find_backend(backend)
    name = check_name(device or ("cpu" if wanted == "openvino" else best_device()))
    kind = name.partition(":")[0]
    size = TILES_PX.get(kind, 1024) if tile_size is None else tile_size
    count = BATCHES.get(kind, 1) if batch_size is None else batch_size
    if not (is_whole(size, 1) and is_whole(count, 1)):
        raise PixnetValueError(
            f"tile_size and batch_size must be whole numbers, at least 1; got {tile_size} and {batch_size}."
        )
    chosen = choose_backend(wanted, name, compile=compile)
    return InferenceConfig(name, round_up(int(size), network.alignment), int(count), augment, compile, chosen)


def check_machine(config: InferenceConfig) -> None:
    """Check that this machine has the device and the backend, before long work begins."""
    check_device(config.device)
    check_backend(config.backend)


def plan_tiles(network: Ensemble, picture: Picture, config: InferenceConfig) -> list[Tile]:
    """List all tiles of a picture; their cores partition it."""
    height, width = picture.grid.shape
    return list(make_tiles(height, width, size=config.tile_px, stride=network.alignment, margin=network.margin))


def block_window(tile: Tile, network: Ensemble) -> Window:
    """Return the core of a tile, in pixels of the raster."""
    return tile.core.coarsened(network.stride)


def predict_blocks(
    network: Ensemble, picture: Picture, plan: Sequence[Tile], config: InferenceConfig
) -> Generator[tuple[Window, np.ndarray], None, None]:
    """Yield a window of the raster and its programs (K, y, x), float32, for each tile of the plan, in order.

    The network itself is only read, so several threads may predict with one at the same time, or save it meanwhile.
    """
    compute, size = forward_programs(for_inference(network, config.device), config), config.batch_size
    for done in over_tiles(compute, picture, plan, [network.stride], device=config.device, batch_size=size):
        yield done.core.coarsened(network.stride), done.maps[0]


def for_inference(network: Ensemble, device: str) -> Ensemble:
    """Copy the network to a device, channels-last and fused. Unchanged weights are shared.

    Channels-last takes 0.6 of the time on a CPU, folded batch norms 0.7 of the encoder's.
    """
    copy = copied_to(network, device, torch.channels_last)
    for features in dict.fromkeys(member.features for member in copy.members):
        features.encoder = fold_norms(features.encoder)
    return copy


def forward_programs(network: Ensemble, config: InferenceConfig) -> Callable[[Tensor], Tensor]:
    """Return the function from (B, 3, H, W) to programs, in half precision on CUDA.

    float16, not bfloat16: with three digits less, maps of the bundled model were 0.09 of their spread off, not 0.004.
    """
    run = OpenvinoNetwork(network) if config.backend == "openvino" else network
    compute = rotated_views(run) if config.augment else run
    compute = compile_network(compute) if config.compile else compute
    if not config.device.startswith("cuda"):
        return compute
    halved: Callable[[Tensor], Tensor] = torch.autocast("cuda", torch.float16)(compute)
    return halved


def compile_network(compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Compile once for all tiles of a picture, since these have one shape."""
    from torch._dynamo.exc import TorchDynamoException  # takes a second to import

    compiled = torch.compile(compute)

    def run(image: Tensor) -> Tensor:
        try:
            return compiled(image)
        except TorchDynamoException as error:
            raise PixnetRuntimeError(
                f"torch cannot compile this network here ({type(error).__name__}: {error}). It needs a C++ compiler "
                "such as g++; compile=False does without."
            ) from error

    return run


def rotated_views(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Average over the eight rotations and reflections, each undone: tissue has no preferred direction."""

    def compute(image: Tensor) -> Tensor:
        return reduce(torch.add, (undo_view(network(apply_view(image, *view)), *view) for view in VIEWS)) / len(VIEWS)

    return compute
