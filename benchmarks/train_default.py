"""Train the model that comes with the package: four serial sections of one HER2+ breast cancer, from data to bytes.

Every section is first left out in turn and predicted in each of its eight views; the means of a gene's correlations
there are its scores in the model's card. Then a model is trained on all of them, and genes are added by fitted
loadings: those that are predicted better than by one map for all genes, and markers. Spots that touch the crop of
section C5 that is in the package (`ps.datasets.breast`) are left out altogether. Settings were chosen by leaving out
C2, C3 and C5 in turn, without C4.

    python -m benchmarks.train_default ENCODER [--out src/pixnet_sd/weights/default] [--features FOLDER]

ENCODER is a safetensors file with ImageNet weights for timm's `tf_efficientnet_lite0` (Apache-2.0). FOLDER keeps the
sampled features, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
import torch

import pixnet_sd as ps
from pixnet_sd._metrics.reliable import find_reliable
from pixnet_sd._metrics.scores import log_profile, pearson_or_zero, pearson_residuals, score_residuals
from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.datasets._her2st_files import BREAST_CROP_PX
from pixnet_sd.nn.model.domain import learn_domain
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.ensemble import Ensemble
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.views import VIEWS
from pixnet_sd.nn.slides import Slide, library_size, select_shapes
from pixnet_sd.nn.training.cache import PixelSamples
from pixnet_sd.nn.training.crops import crop_rows
from pixnet_sd.nn.training.dataset import ShapeDataset, make_datasets
from pixnet_sd.nn.training.fit import first_network, new_members, train_member
from pixnet_sd.nn.training.loadings import PooledSection, fit_loadings, log_profiles
from pixnet_sd.nn.training.loop import pool_programs, predict_dataset
from pixnet_sd.nn.training.prepare import cache_slide, decoder_margin, regroup_crops, sample_datasets, training_datasets
from pixnet_sd.nn.training.state import TrainState
from pixnet_sd.tl._extend import name_scores
from pixnet_sd.tl._slides import ReadOptions, find_measured_sections, read_slide
from pixnet_sd.tl._train import progress_bars

SECTIONS = ("C2", "C3", "C4", "C5")
GENES = 250
SEEN, PIXELS, UNSEEN = 4, 8, 4
"""Views of each section to learn from, pixels of each spot, and a view that is not learnt from."""
LEAST_COUNTS = 30
"""Over all sections, of a gene that is fitted to the programs."""
MPP = 1.38
"""About twice the pictures' own."""
NETWORK = ps.NetworkConfig(mpp=MPP)
AROUND_UM = 350.0
"""What is read around the spots: the receptive field and some glass."""
MARKERS = (
    *("EPCAM", "ERBB2", "COL1A1", "VIM", "CDH1", "HLA-A", "HLA-DRA", "IGKC", "IGHG1", "CD3D", "CD3E", "CD4", "CD8A"),
    *("CD68", "CD163", "MS4A1", "PTPRC", "PECAM1", "ACTA2", "KRT8", "KRT18", "KRT5", "KRT14", "ESR1", "PGR", "MKI67"),
    *("LYZ", "FOXP3", "GZMB", "NKG7", "CD79A", "VWF", "PDGFRB", "FAP", "MUC1", "TP53", "GATA3", "CXCL13", "CCL5"),
    *("TGFB1", "S100A8", "PLIN1", "ADIPOQ", "FABP4"),
)
"""Genes that are asked for first: kept where they were measured, however well they are predicted."""
LIMITS = (
    "Trained on four serial sections of one patient: it has seen one tumour, one staining, one scanner. Spots of 100 µm"
    " taught it, so detail below that size is extrapolated. Scores are of serial sections of that tumour, in any"
    " orientation: expect less on a section of another day, and about half on another patient. Not for other organs,"
    " not for diagnosis."
)


def chosen_genes(sections: Sequence[object]) -> list[str]:
    """All genes that all sections have, those of highest mean count per 10,000 first."""
    tables = [section["spots_counts"] for section in sections]
    common = sorted(set.intersection(*(set(table.var_names) for table in tables)))
    profiles = [table[:, common].X.multiply(1e4 / table.X.sum(axis=1)).sum(axis=0) for table in tables]
    order = np.argsort(-np.asarray(sum(profiles)).ravel(), kind="stable")
    return [common[column] for column in order]


def read_around(section: object, name: str, genes: Sequence[str]) -> Slide:
    """A section in memory, cut to where its spots are."""
    (found,) = find_measured_sections([section], None, None, "spots_counts")
    slide = read_slide(found, name, ReadOptions(None, genes, MPP, None, False, glass=True))
    if name == "C5":
        x0, y0, x1, y1 = np.array(BREAST_CROP_PX) * found.mpp / slide.mpp
        left, top, right, bottom = slide.measured[0].shapes.bounds.T
        slide = select_shapes(slide, [(right < x0) | (left > x1) | (bottom < y0) | (top > y1)])
    bounds, around = slide.measured[0].shapes.bounds, AROUND_UM / slide.mpp
    left, top = np.floor((bounds[:, :2].min(axis=0) - around) / 16).astype(int) * 16
    right, bottom = np.ceil((bounds[:, 2:].max(axis=0) + around) / 16).astype(int) * 16
    measured = [replace(one, shapes=moved(one.shapes, -left, -top)) for one in slide.measured]
    pixels = da.from_array(slide.picture.read(Window(top, left, bottom, right)), chunks=-1)
    return replace(slide, picture=Picture(pixels), measured=tuple(measured), glass=moved(slide.glass, -left, -top))


def moved(shapes: Shapes, x: int, y: int) -> Shapes:
    """Circles, and other shapes that their bounds place."""
    return replace(shapes, bounds=shapes.bounds + np.array([x, y, x, y]))


def sampled(network: PixNet, slide: Slide, view: int, folder: Path, pixels: int) -> tuple[ShapeDataset, ...]:
    """The spots and the glass of a slide that lies as in `VIEWS`, with some pixels of each."""
    path, sets = folder / f"{slide.name}_{view}.npz", make_datasets(network, slide, decoder_margin(network))
    if not path.exists():
        with TemporaryDirectory(dir=folder) as place:
            work = Path(place)
            cached = cache_slide(
                network, slide, VIEWS[view], decoder_margin(network), work, "cpu", progress_bars(False)
            )
            found = [one.samples for one in sample_datasets(network, cached, pixels, work, "cpu")]
            np.savez(path, x=found[0].features, w=found[0].weights, gx=found[1].features, gw=found[1].weights)
    with np.load(path) as stored:
        samples = [PixelSamples(stored["x"], stored["w"]), PixelSamples(stored["gx"], stored["gw"])]
    pairs = zip(sets, samples, strict=True)
    return tuple(replace(one, samples=own, crops=regroup_crops(one, own, pixels)) for one, own in pairs)


class Study:
    """All sections with the features of their views."""

    def __init__(self, slides: Sequence[Slide], network: PixNet, config: ps.TrainConfig, folder: Path) -> None:
        self.wide, self.network, self.config = slides, network, config
        self.slides = [with_genes(slide, np.arange(GENES)) for slide in slides]
        views = range(len(VIEWS))
        self.sets = [[sampled(network, slide, view, folder, config.pixels) for view in views] for slide in self.slides]

    def train(self, rows: Sequence[int]) -> list[PixNet]:
        """All members, on some of the slides."""
        seen = [sum(self.sets[row][: self.config.used_views], ()) for row in rows]
        datasets, trained = training_datasets(seen), []
        slides = [self.slides[row] for row in rows]
        for member, own in new_members(self.network, self.config, slides, datasets, None, "cpu"):
            train_member(TrainState(member, datasets, [], own), None, progress_bars(False), "")
            trained.append(member)
        return trained

    def pooled(self, members: Sequence[PixNet], row: int, view: int = 0) -> PooledSection:
        """Programs of all members beside the counts of all genes."""
        spots, measured = self.sets[row][view][0], self.wide[row].measured[0]
        programs = np.zeros((len(measured.totals), sum(len(member.loadings) for member in members)))
        with torch.inference_mode():
            for crops in spots.split(64):
                found = [pool_programs(member, spots, crops, "cpu") for member in members]
                programs[crop_rows(crops)] = torch.cat(found, dim=1).numpy()
        return PooledSection(programs, measured.counts, measured.totals)

    def loadings(self, members: Sequence[PixNet], rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Loadings of all genes, of which the first were trained and the others are fitted, and of all counts."""
        sections = [self.pooled(members, row) for row in rows]
        own = Ensemble(members).loadings.detach().numpy().astype(float)
        trained, counted = (sum(value) for value in zip(*[sums_of(one) for one in sections], strict=True))
        library = own.sum(axis=1) * counted / trained
        others = [replace(one, counts=one.counts[:, GENES:]) for one in sections]
        return np.concatenate([own, fit_loadings(others, library)], axis=1), library

    def left_out(self, row: int) -> Held:
        """Scores on a section of those trained on the others, in every view."""
        others = [other for other in range(len(self.slides)) if other != row]
        members = self.train(others)
        loadings, library = self.loadings(members, others)
        counts, totals = self.wide[row].measured[0].counts.toarray(), self.wide[row].measured[0].totals
        views = [
            log_profiles(self.pooled(members, row, view).programs, loadings, library) for view in range(len(VIEWS))
        ]
        logs = np.array([pearson_or_zero(one, log_profile(counts, totals)) for one in views])
        residuals = np.array([score_residuals(one, counts, totals) for one in views])
        held = Held(logs, residuals, (np.expm1(views[UNSEEN]), pearson_residuals(counts, totals)))
        print(f"{SECTIONS[row]} left out, by view: PCC@M {means(logs)}, residuals {means(residuals)}", flush=True)
        print(f"  its glass, of its tissue: {self.glass_share(members, row):.4f}", flush=True)
        return held

    def glass_share(self, members: Sequence[PixNet], row: int) -> float:
        """Mean rate on glass over that in spots."""
        rates = []
        for dataset in self.sets[row][UNSEEN]:
            counts = sum(np.nansum(predict_dataset(member, dataset, "cpu")) for member in members)
            rates.append(counts / dataset.samples.weights.sum())
        return rates[1] / rates[0]


@dataclass(frozen=True)
class Held:
    """Scores of all genes on a section that was left out."""

    logs: np.ndarray
    """(views, genes)."""
    residuals: np.ndarray
    """(views, genes)."""
    compared: tuple[np.ndarray, np.ndarray]
    """Predicted profiles in a view that was not learnt from, and measured residuals, (spots, genes)."""


def means(scores: np.ndarray) -> list[float]:
    return np.nanmean(scores[:, :GENES], axis=1).round(3).tolist()


def sums_of(section: PooledSection) -> tuple[float, float]:
    return float(section.counts[:, :GENES].sum()), float(section.totals.sum())


def with_genes(slide: Slide, columns: np.ndarray) -> Slide:
    return replace(slide, measured=tuple(replace(one, counts=one.counts[:, columns]) for one in slide.measured))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/pixnet_sd/weights/default")
    parser.add_argument("--features", type=Path, default=Path("features"))
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    options.features.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    config = ps.TrainConfig(network=NETWORK, steps=options.steps, members=options.members, pixels=PIXELS, views=SEEN)
    sections = [ps.datasets.her2st(name) for name in SECTIONS]
    genes = chosen_genes(sections)
    slides = [read_around(section, name, genes) for section, name in zip(sections, SECTIONS, strict=True)]
    frequent = sum(np.asarray(slide.measured[0].counts.sum(axis=0)).ravel() for slide in slides) >= LEAST_COUNTS
    frequent[:GENES] = True
    genes = [gene for gene, kept in zip(genes, frequent, strict=True) if kept]
    slides = [with_genes(slide, np.flatnonzero(frequent)) for slide in slides]
    study = Study(slides, first_network(config, GENES, None, options.encoder).eval(), config, options.features)
    print(f"{len(genes)} genes; features: {time.perf_counter() - start:.0f} s", flush=True)
    every = range(len(slides))
    held = [study.left_out(row) for row in every]
    members = study.train(every)
    logs, residuals = (np.nanmean([getattr(one, name) for one in held], axis=(0, 1)) for name in ("logs", "residuals"))
    reliable = find_reliable([one.compared for one in held])
    card = Card(
        "her2-breast",
        tissue="breast, HER2+ carcinoma",
        species="human",
        data=f"her2st C2 to C5 (Andersson et al. 2021, CC BY 4.0), {count_spots(slides)} spots of 100 µm",
        license="BSD-3-Clause; encoder: EfficientNet-Lite0, Apache-2.0",
        limits=LIMITS,
        validation="four sections left out in turn, mean over eight orientations",
        scores=name_scores(genes, logs),
        residuals=name_scores(genes, residuals),
        reliable=tuple(gene for gene, better in zip(genes, reliable, strict=True) if better),
    )
    bare = Model(
        members, genes[:GENES], card, library_size=library_size(study.slides), stain_domain=learn_domain(slides)
    )
    model = bare.join_genes(genes[GENES:], study.loadings(members, every)[0][:, GENES:], card)
    kept = {*genes[:GENES], *card.reliable, *MARKERS}
    model = model.select([gene for gene in genes if gene in kept])
    model.save(options.out, overwrite=True)
    print(model)
    by_section = [float(np.nanmean(one.logs[:, :GENES])) for one in held]
    facts = {"PCC@M": dict(zip(SECTIONS, by_section, strict=True)), "reliable": len(card.reliable)}
    print(json.dumps({**facts, "genes": len(genes), "s": time.perf_counter() - start}))


def count_spots(slides: Sequence[Slide]) -> int:
    return sum(len(slide.measured[0].shapes) for slide in slides)


if __name__ == "__main__":
    main()
