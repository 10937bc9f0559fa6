"""Tiny DINOv2 networks as transformers names, saves and runs them. With transformers 4.48.3: python make.py

That release names tensors as the published checkpoints of Phikon-v2, Midnight and Hibou do.
"""

from pathlib import Path

import safetensors.torch
import torch
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

SHAPE = {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 1}


def picture() -> torch.Tensor:
    """A picture without random numbers, (1, 3, 224, 224)."""
    places = torch.arange(3 * 224 * 224).view(1, 3, 224, 224)
    return torch.sin(places * 0.37) * torch.cos(places * 0.011)


def main() -> None:
    torch.manual_seed(0)
    models = {
        "phikon-v2": Dinov2Model(Dinov2Config(**SHAPE, patch_size=16, image_size=224)),
        "midnight": Dinov2Model(Dinov2Config(**SHAPE, patch_size=14, image_size=518, use_swiglu_ffn=True)),
        "hibou-b": Dinov2WithRegistersModel(
            Dinov2WithRegistersConfig(
                **SHAPE, patch_size=14, image_size=224, num_register_tokens=4, use_swiglu_ffn=True
            )
        ),
    }
    for name, model in models.items():
        for parameter in model.parameters():
            # Half precision in the file, and in the network that computes the tokens.
            parameter.data = (0.2 * torch.randn_like(parameter)).half().float()
        with torch.inference_mode():
            tokens = model.eval()(picture()).last_hidden_state
        state = {key: value.half() for key, value in model.state_dict().items()}
        safetensors.torch.save_file({**state, "tokens": tokens}, Path(__file__).parent / f"{name}.safetensors")


if __name__ == "__main__":
    main()
