"""Train the model that comes with the package: four serial sections of one HER2+ breast cancer, from data to bytes.

Every section is first left out in turn; the mean of a gene's correlations there is its score in the model's card. Then
a model is trained on all of them. Settings were chosen by leaving out C2, C3 and C5 in turn, without C4.

    python -m benchmarks.train_default ENCODER [--out src/pixnet_sd/weights/default] [--members 3] [--steps 800]

ENCODER is a safetensors file with ImageNet weights for timm's `tf_efficientnet_lite0` (Apache-2.0).
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import pixnet_sd as ps
from pixnet_sd.nn.model import domain
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.slides import Slide, library_size
from pixnet_sd.nn.training.fit import first_network, new_members, train_member
from pixnet_sd.nn.training.loop import gene_scores
from pixnet_sd.nn.training.prepare import SlideSets, cached_datasets, training_datasets
from pixnet_sd.nn.training.state import TrainState
from pixnet_sd.tl._slides import ReadOptions, read_slide
from pixnet_sd.tl._train import progress_bars

SECTIONS = ("C2", "C3", "C4", "C5")
GENES = 250
MPP = 0.7
NETWORK = NetworkConfig(
    "tf_efficientnet_lite0", mpp=MPP, decoder="pixel", widths=(64,), overview=4, context_um=(150.0, 300.0, 600.0)
)
LIMITS = (
    "Trained on four serial sections of one patient: it has seen one tumour, one staining, one scanner. Spots of 100 µm"
    " taught it, so detail below that size is extrapolated. Its sections lay alike: on one turned by 90° it loses a"
    " fifth of its accuracy. Not for other organs, not for diagnosis."
)


def chosen_genes(sections: Sequence[object]) -> list[str]:
    """The genes of highest mean count per 10,000 among those that all sections have."""
    tables = [section["spots_counts"] for section in sections]
    common = sorted(set.intersection(*(set(table.var_names) for table in tables)))
    profiles = [table[:, common].X.multiply(1e4 / table.X.sum(axis=1)).sum(axis=0) for table in tables]
    order = np.argsort(-np.asarray(sum(profiles)).ravel(), kind="stable")
    return [common[column] for column in order[:GENES]]


def train(network: PixNet, config: ps.TrainConfig, slides: Sequence[Slide], sets: Sequence[SlideSets]) -> list[PixNet]:
    """All members, on some of the slides."""
    datasets, trained = training_datasets(sets), []
    for member, own in new_members(network, config, slides, datasets, None, "cpu"):
        train_member(TrainState(member, datasets, [], own), None, progress_bars(False), "")
        trained.append(member)
        print(f"  member {len(trained)} of {config.members}", flush=True)
    return trained


def left_out(network: PixNet, config: ps.TrainConfig, slides: Sequence[Slide], sets: Sequence[SlideSets]) -> np.ndarray:
    """(sections, genes) correlation on every section, from those trained on the others."""
    scores = []
    for number, name in enumerate(SECTIONS):
        others = [k for k in range(len(slides)) if k != number]
        members = train(network, config, [slides[k] for k in others], [sets[k] for k in others])
        scores.append(gene_scores(members, sets[number], "cpu"))
        print(f"{name} left out: PCC@M {np.nanmean(scores[-1]):.4f}", flush=True)
    return np.array(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/pixnet_sd/weights/default")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    start = time.perf_counter()
    config = ps.TrainConfig(network=NETWORK, steps=options.steps, members=options.members)
    sections = [ps.datasets.her2st(name) for name in SECTIONS]
    genes = chosen_genes(sections)
    reading = ReadOptions("he", ["spots_counts"], None, genes, MPP, None, False)
    slides = [read_slide(section, name, reading) for section, name in zip(sections, SECTIONS, strict=True)]
    network = first_network(config, len(genes), None, options.encoder).eval()
    with cached_datasets(network, slides, "cpu", progress_bars(True), config.pixels) as sets:
        print(f"features: {time.perf_counter() - start:.0f} s", flush=True)
        scores = left_out(network, config, slides, sets)
        members = train(network, config, slides, sets)
    means = np.nanmean(scores, axis=0)
    card = Card(
        "her2-breast",
        tissue="breast, HER2+ carcinoma",
        species="human",
        data="her2st C2 to C5 (Andersson et al. 2021, CC BY 4.0), 732 spots of 100 µm",
        license="BSD-3-Clause; encoder: EfficientNet-Lite0, Apache-2.0",
        limits=LIMITS,
        validation="four sections left out in turn",
        scores={gene: float(score) for gene, score in zip(genes, means, strict=True) if np.isfinite(score)},
    )
    model = Model(members, genes, card, library_size=library_size(slides), stain_domain=domain.learn_domain(slides))
    model.save(options.out, overwrite=True)
    by_section = dict(zip(SECTIONS, np.nanmean(scores, axis=1).round(4).tolist(), strict=True))
    print(model)
    print(json.dumps({"PCC@M": by_section, "mean": float(np.nanmean(scores)), "s": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
