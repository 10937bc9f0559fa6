"""Score a predicted table against raw counts of the same shapes.

PCC@F, @S and @M are the first quartile, median and mean over genes of the Pearson correlation.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pixnet_sd._errors import PixnetValueError
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
    parser.add_argument("--overwrite", action="store_true", help="replace scores that are there")


def run(asked: argparse.Namespace) -> int:
    names = {} if asked.csv is None else names_apart(asked.slides)
    files = {path: asked.csv / f"{name}.csv" for path, name in names.items()}
    return _slides.for_each(asked, partial(evaluate_slide, asked=asked, files=files))


def names_apart(paths: Sequence[str]) -> dict[str, str]:
    """Name each slide by its folder, with as many folders above as tell it from the others."""
    parts = {path: Path(path).resolve().with_suffix("").parts[1:] for path in paths}
    for depth in range(1, max(map(len, parts.values())) + 1):
        names = {path: "_".join(own[-depth:]) for path, own in parts.items()}
        if len(set(names.values())) == len(paths):
            return names
    raise PixnetValueError(f"One slide is named twice, or two cannot be told apart, in {' '.join(paths)}.")


def evaluate_slide(path: str, *, asked: argparse.Namespace, files: Mapping[str, Path]) -> _slides.Facts:
    import pixnet_sd as ps

    file = files.get(path)
    if file is not None and file.exists() and not asked.overwrite:
        raise PixnetValueError(f"{file} exists already. Give another folder, or --overwrite.")
    sdata = _slides.open_slide(path)
    options = {"genes": asked.genes, "layer": asked.layer, "ceiling": asked.ceiling}
    scores = ps.tl.evaluate(sdata, asked.predicted, asked.measured, **options)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        scores.to_csv(file)
    return {name: value for name, value in scores.attrs.items() if isinstance(value, int | float | str)}
