"""Load the published weights of every foundation encoder that your token has access to, and time a tile.

python -m benchmarks.encoders [NAME ...]     after export HF_TOKEN=...; downloads up to 35 GB

Each line says whether the weights were loaded, every tensor of them, how many parameters there are, the seconds of
loading and of one window, and mean and SD of its features, which are finite and vary if all is well.
"""

import sys
import time

import numpy as np
import torch

import pixnet_sd as ps
from pixnet_sd.nn.encoders.build import build_encoder


def main(names: list[str]) -> None:
    for name in names or list(ps.encoders().index):
        print(f"{name:14s} {describe(name)}", flush=True)


def describe(name: str) -> str:
    start = time.perf_counter()
    try:
        encoder = build_encoder(name).eval()
    except ps.PixnetError as error:
        return f"not loaded: {error}"
    loaded = time.perf_counter() - start
    millions = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    device = "cuda" if torch.cuda.is_available() else "cpu"
    image = torch.from_numpy(tile(encoder.alignment)).to(device)
    start = time.perf_counter()
    with torch.inference_mode():
        features = encoder.to(device)(image)[-1].float().cpu()
    return (
        f"loaded in {loaded:.1f} s, {millions:.1f} M parameters, one window of {encoder.alignment} px in "
        f"{time.perf_counter() - start:.2f} s on {device}, features {features.mean():.3f} +- {features.std():.3f}"
    )


def tile(side: int) -> np.ndarray:
    """A tile of synthetic tissue, (1, 3, side, side) from 0 to 1."""
    pixels = ps.datasets.toy(size_px=max(side, 64))["he"].values[:, :side, :side]
    return pixels[None].astype(np.float32) / 255


if __name__ == "__main__":
    main(sys.argv[1:])
