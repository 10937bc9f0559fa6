"""Accuracy of published ideas and of ours, trained and tested here on the same folds, genes, targets and encoder.

Each result is kept in the folder `--out` as soon as it is there, so the same command goes on where it was stopped, and
the report covers whatever is there. A method that was changed needs another folder, or its results deleted: nothing
here notices. Folds leave out one section; see `protocol` for the rest.

    PIXNET_SD_DATA_DIR=data python -m benchmarks.accuracy --data her2st --out accuracy

`--quick` runs one fold, `--rows` some rows (none: only the report), `--no-controls` leaves out shuffled labels.
"""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

import pixnet_sd as ps
from pixnet_sd._settings import logger

from . import report, results
from .data import SOURCES
from .protocol import Fold, Study
from .rows import ROWS


@dataclass(frozen=True)
class Task:
    """One result to have."""

    row: str
    fold: Fold
    seed: int

    def path(self, study: Study) -> Path:
        return results.path_of(study, self.row, self.fold, self.seed)

    def run(self, study: Study) -> None:
        results.keep(self.path(study), ROWS[self.row].method(study, self.fold, self.seed))


def plan(folds: list[Fold], rows: list[str], controls: bool) -> Iterator[Task]:
    """All of a row before the next one; controls after the row's results."""
    for name in rows:
        row = ROWS[name]
        yield from (Task(name, fold, seed) for fold in folds for seed in range(row.seeds))
        yield from (Task(name, fold.control(), 0) for fold in folds if controls and row.control)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(SOURCES), default="her2st")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path("accuracy"), help="folder for features, results and report")
    parser.add_argument("--quick", action="store_true", help="only the first fold")
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="without shuffled labels")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    ps.settings.progress = False
    logger.setLevel(logging.WARNING)
    study = Study(chosen.data, chosen.out)
    folds = study.folds()[: 1 if chosen.quick else None]
    tasks = [task for task in plan(folds, chosen.rows, chosen.controls) if not task.path(study).exists()]
    bar = tqdm(tasks, unit="run")
    for task in bar:
        bar.set_description(f"{task.row} {task.fold.name} seed {task.seed}")
        task.run(study)
    print(report.write(study))


if __name__ == "__main__":
    main()
