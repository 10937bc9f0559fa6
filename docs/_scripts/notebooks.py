"""Execute the notebooks, and put the copies with outputs into docs/notebooks, which is what the documentation shows.

python docs/_scripts/notebooks.py              all of them
python docs/_scripts/notebooks.py quickstart   some of them
python docs/_scripts/notebooks.py --stale      those that have changed since they were executed
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

REPOSITORY = Path(__file__).parents[2]
SOURCES, EXECUTED = REPOSITORY / "notebooks", REPOSITORY / "docs" / "notebooks"
LONGEST_S = 900
"""For one cell, on a machine that does other work as well."""


def main(asked: list[str]) -> None:
    # The command line is the one of this environment.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    EXECUTED.mkdir(exist_ok=True)
    names = [name for name in asked if name != "--stale"]
    for source in sorted(SOURCES.glob("*.ipynb")):
        if (not names or source.stem in names) and not ("--stale" in asked and is_executed(source)):
            start = time.perf_counter()
            execute(source)
            print(f"{source.stem}: {time.perf_counter() - start:.0f} s", flush=True)


def is_executed(source: Path) -> bool:
    """Whether a copy with the same cells has been executed to its end."""
    copy = EXECUTED / source.name
    if not copy.exists():
        return False
    wanted, found = nbformat.read(source, as_version=4), nbformat.read(copy, as_version=4)
    same = [cell.source for cell in wanted.cells] == [cell.source for cell in found.cells]
    return same and all(cell.execution_count for cell in found.cells if cell.cell_type == "code")


def execute(source: Path) -> None:
    """In a folder of its own, with the modules that lie beside the notebook. A cell that fails ends it all."""
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        for module in SOURCES.glob("*.py"):
            shutil.copy(module, folder)
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=LONGEST_S, kernel_name="python3", resources=place).execute()
    nbformat.write(notebook, EXECUTED / source.name)


if __name__ == "__main__":
    main(sys.argv[1:])
