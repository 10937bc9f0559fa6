"""Write the tiny model beside this file, with the tensors of every stage on one small image.

Run it only when the network changes on purpose: python tests/data/tiny_model/make.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet

HERE = Path(__file__).parent
CONFIG = NetworkConfig(
    "tf_efficientnet_lite0",
    levels=(0,),
    mpp=1.0,
    stride=1,
    context_um=(8.0,),
    widths=(4, 6),
    programs=2,
    decoder="safb",
    fine=True,
)


def make() -> None:
    torch.manual_seed(0)
    network = PixNet(CONFIG, genes=3, encoder_weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
    card = Card("tiny", limits="random weights: for tests of the network only")
    Model([network], ("A", "B", "C"), card).save(HERE, overwrite=True)
    save_file(stages(network.eval(), torch.rand(1, 3, 8, 12)), HERE / "stages.safetensors")


@torch.inference_mode()
def stages(network: PixNet, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each stage gives, by name: `features` holds encoder, color and context, one map per source."""
    maps = network.features(image)
    decoded = network.decoder(maps)
    programs = network.head(decoded)
    pooled = programs.mean((2, 3)) @ network.loadings + network.intercept
    named = {f"features.{index}": seen.contiguous() for index, seen in enumerate(maps)}
    return {"image": image, **named, "decoder": decoded, "programs": programs, "genes": pooled}


if __name__ == "__main__":
    make()
