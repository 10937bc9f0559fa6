"""Score a predicted table against raw counts of the same shapes.

PCC@F, @S and @M are the first quartile, median and mean over genes of the Pearson correlation.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from pixnet_sd.cli import _slides

HELP = "score a predicted table against a measured one"
EXAMPLES = """\
examples:
  pixnet-sd evaluate a.zarr --predicted spots_expression --measured spots_counts
  pixnet-sd evaluate *.zarr --predicted spots_expression --measured spots_counts --ceiling --csv scores
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _slides.add_slides(parser)
    parser.add_argument("--predicted", required=True, metavar="TABLE", help="e.g. what aggregate made")
    parser.add_argument("--measured", required=True, metavar="TABLE", help="raw counts of the same shapes")
    parser.add_argument("--layer", help="the layer with raw counts; by default X")
    parser.add_argument("--genes", nargs="+", metavar="GENE", help="by default all that both tables have")
    parser.add_argument("--ceiling", action="store_true", help="add the correlation that sampling noise allows")
    parser.add_argument("--csv", type=Path, metavar="FOLDER", help="write the scores of each gene there")


def run(asked: argparse.Namespace) -> int:
    return _slides.for_each(asked, partial(evaluate, asked=asked))


def evaluate(path: str, *, asked: argparse.Namespace) -> _slides.Facts:
    from pixnet_sd._sdata.opening import open_slide
    from pixnet_sd.tl._evaluate import evaluate as score

    sdata = open_slide(path)
    options = {"genes": asked.genes, "layer": asked.layer, "ceiling": asked.ceiling}
    scores = score(sdata, asked.predicted, asked.measured, **options)
    if asked.csv is not None:
        asked.csv.mkdir(parents=True, exist_ok=True)
        scores.to_csv(asked.csv / f"{Path(path).stem}.csv")
    return {name: value for name, value in scores.attrs.items() if isinstance(value, int | float | str)}
