"""Write docs/bad_inputs.md from the table that the tests go through: python docs/_scripts/bad_inputs.py"""

import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
sys.path.insert(0, str(DOCS.parent / "tests"))

from hardening.rows import ROWS, Refusal, Row  # noqa: E402

HEAD = """# Bad inputs

SpatialData takes most of what is listed here, so it reaches this package. Each row has its outcome and a test of it;
nothing is guessed and nothing dropped in silence. All errors are a `pixnet_sd.PixnetError` as well as the builtin named
here, and say what was asked, what was found, and what to do.

This page is made by `python docs/_scripts/bad_inputs.py` from the table in `tests/hardening/rows.py`.

| input | what happens | tried and refused |
|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(line(row) for row in ROWS)


def line(row: Row) -> str:
    return f"| {row.given} | {row.outcome} | {'; '.join(map(refused, row.refused))} |\n"


def refused(one: Refusal) -> str:
    return f"{one.what} (`{one.error.__name__}`)"


if __name__ == "__main__":
    (DOCS / "bad_inputs.md").write_text(page())
