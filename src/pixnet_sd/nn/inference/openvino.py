"""Run a network with OpenVINO, which takes less than half of torch's time on a CPU. Torch and OpenVINO.

The network is traced and converted once for each shape of a tile, and kept in the user's cache folder. What is kept
holds nothing of the processor: it is compiled whenever it is used, which takes a second.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from pixnet_sd._settings import logger
from pixnet_sd.nn.inference.converted import keep_converted, kept_network
from pixnet_sd.nn.inference.fusing import have_same_maps
from pixnet_sd.nn.network.ensemble import Ensemble

CONVERTING = Lock()
"""torch traces one network at a time; a second thread that wants the same one then finds it."""


class OpenvinoNetwork:
    """A network that OpenVINO runs, tile by tile; where it cannot, torch does."""

    def __init__(self, network: Ensemble) -> None:
        self.network = network
        self.compiled: dict[tuple[int, ...], Callable[[Tensor], Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Compute programs (B, K, h, w) from (B, 3, H, W)."""
        # One by one: on a CPU a batch saves nothing, and a tile's bytes depend on no other tile.
        return torch.cat([self.find_compiled(image)(image) for image in images.split(1)])

    def find_compiled(self, image: Tensor) -> Callable[[Tensor], Tensor]:
        shape = tuple(image.shape)
        if shape not in self.compiled:
            self.compiled[shape] = self.compile_or_fall_back(shape)
        return self.compiled[shape]

    def compile_or_fall_back(self, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        try:
            with CONVERTING, torch.inference_mode(False), torch.no_grad():
                return load_compiled(self.network, shape)
        except Exception as error:  # noqa: BLE001 - OpenVINO's errors have no common base
            logger.warning("OpenVINO cannot run this network (%s: %s); torch does", type(error).__name__, error)
            return self.network


def load_compiled(network: Ensemble, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Compile the network for tiles of this shape; it is converted where that was not done before."""
    kept = kept_network(network, shape)
    if kept.exists():
        return compile_converted(kept / "network.xml")
    logger.info("converting the network for OpenVINO, once for tiles of %d px: it may take a minute", shape[-1])
    start = time.perf_counter()
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = network(image)
    converted = convert_network(network, image)
    run = compile_converted(converted)
    check_agreement(expected, run(image))
    keep_converted(converted, kept)
    logger.info("converted in %.0f s", time.perf_counter() - start)
    return run


def convert_network(network: Ensemble, image: Tensor) -> Any:
    """Trace the network on an image and convert the trace.

    Through the frontend itself: `openvino.convert_model` traces twice more, and reports to a server that it was used.
    """
    from openvino import PartialShape
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    # Named, because it must live until all is converted, and OpenVINO does not hold on to it.
    decoder = TorchScriptPythonDecoder(trace_network(network, image))
    loaded = frontend.load(decoder)
    loaded.set_partial_shape(loaded.get_inputs()[0], PartialShape(list(image.shape)))
    return take_channels_last(frontend.convert(loaded))


def take_channels_last(converted: Any) -> Any:
    """Let the converted network take (1, H, W, 3), as images are in memory: a copy would take 5 % of the time."""
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    prepared = PrePostProcessor(converted)
    prepared.input().tensor().set_layout(Layout("NHWC"))
    prepared.input().model().set_layout(Layout("NCHW"))
    return prepared.build()


def trace_network(network: Ensemble, image: Tensor) -> Any:
    with warnings.catch_warnings():
        # Of sides that become constants, which is meant: a trace is for tiles of one shape.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", FutureWarning)  # newer torch has another way, which takes OpenVINO longer
        return torch.jit.trace(network, image, check_trace=False)


def compile_converted(converted: Any) -> Callable[[Tensor], Tensor]:
    """Compile a converted network, or the file of one, for this processor, in full precision and torch's threads."""
    from openvino import Core

    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # other processes may have their threads on the same cores
    }
    compiled = Core().compile_model(converted, "CPU", options)

    def run(image: Tensor) -> Tensor:
        pixels = image.permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(compiled(pixels, share_inputs=True)[0])

    return run


def check_agreement(expected: Tensor, found: Tensor) -> None:
    if not have_same_maps([expected], [found]):
        apart = float((expected - found).abs().max() / expected.std())
        raise ValueError(f"its map is up to {apart:.2g} SD off that of torch")
