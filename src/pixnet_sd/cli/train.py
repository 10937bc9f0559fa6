"""Train a model on measured sections, and save it in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.cli import _slides

HELP = "train a model on measured sections"
EXAMPLES = """\
example:
  pixnet-sd train a.zarr b.zarr --table spots_counts --out my_model --name "colon, 2 sections"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slides", nargs="+", metavar="slide.zarr", help="measured sections, all learnt from together")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the model is saved")
    parser.add_argument("--image", metavar="KEY", help="the H&E image; may be left out when there is one")
    parser.add_argument("--table", metavar="KEY", action="append", help="raw counts; may be given several times")
    parser.add_argument("--layer", help="the layer with raw counts; by default X")
    parser.add_argument("--genes", nargs="+", metavar="GENE", help="by default those that were selected, or all")
    parser.add_argument("--method", choices=["pixnet", "ridge"], default="pixnet", help="ridge takes seconds")
    parser.add_argument("--name", default="my model", help="for the model's card, as are the next two")
    parser.add_argument("--tissue", default="unknown")
    parser.add_argument("--species", default="unknown")
    parser.add_argument("--device", help='"cpu", "cuda", "mps"; by default the fastest there is')
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there")


def run(asked: argparse.Namespace) -> int:
    if asked.out.exists() and not asked.overwrite:
        raise PixnetValueError(f"{asked.out} exists already. Give another folder, or --overwrite.")
    import pixnet_sd as ps

    model = ps.tl.train(
        [_slides.open_slide(path) for path in asked.slides],
        image_key=asked.image,
        table_key=asked.table,
        genes=asked.genes,
        layer=asked.layer,
        method=asked.method,
        name=asked.name,
        tissue=asked.tissue,
        species=asked.species,
        device=asked.device,
        progress=_slides.shows_bars(),
    )
    model.save(asked.out, overwrite=asked.overwrite)
    print(f"{asked.out}: {len(model.genes)} genes, {model.unit}, sha256 {model.sha256[:8]}")
    return 0
