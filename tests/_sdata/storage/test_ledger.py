"""What is done is noted once it is done, and half a note is none."""

from pathlib import Path

import numpy as np
import pytest

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata.storage.ledger import Ledger

PLAN = {"sha256": "abc", "step": (4.0, 4.0)}
VALUES = np.array([1.0, np.nan], np.float32)


def test_what_was_noted_is_found_again_and_half_a_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path, PLAN)
    first.add(3, VALUES, "a")
    first.close()
    path.write_text(path.read_text() + '{"block": 4, "dig')
    again = Ledger(path, PLAN)
    assert again.sources(3, VALUES.copy()) == {"a"}
    assert not again.sources(3, VALUES + 1)
    assert not again.sources(4, VALUES)
    again.add(4, VALUES, "a")
    again.close()
    assert set(Ledger(path, PLAN).done) == {3, 4}


def test_another_plan_is_refused_with_what_differs(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.jsonl", PLAN).close()
    with pytest.raises(PixnetValueError, match=r"\(sha256: 'abc' then, 'xyz' now\).*resume=False"):
        Ledger(tmp_path / "ledger.jsonl", {**PLAN, "sha256": "xyz"})


def test_a_line_that_was_cut_short_in_the_middle_costs_only_its_block(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path, PLAN)
    for block in (1, 2, 3):
        first.add(block, VALUES, "a")
    first.close()
    plan, one, two, three = path.read_text().splitlines()
    path.write_text(f"{plan}\n{one}\n{two[:9]}{three}\n")
    assert set(Ledger(path, PLAN).done) == {1}


def test_ledgers_side_by_side_all_count_and_must_have_one_plan(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path / "ledger-1.jsonl", PLAN), Ledger(tmp_path / "ledger-2.jsonl", PLAN)
    one.add(1, VALUES, "a")
    assert not other.sources(1, VALUES)
    other.refresh()
    assert other.sources(1, VALUES) == {"a"}
    with pytest.raises(PixnetValueError, match="sha256"):
        Ledger(tmp_path / "ledger-3.jsonl", {**PLAN, "sha256": "xyz"})
    assert not (tmp_path / "ledger-3.jsonl").exists()


def test_a_block_that_was_made_again_counts_with_what_its_values_are_from(tmp_path: Path) -> None:
    """Whichever ledger is read last."""
    for name, values, source in (("1", VALUES, "old"), ("2", VALUES + 1, "new"), ("3", VALUES, "older")):
        ledger = Ledger(tmp_path / f"ledger-{name}.jsonl", PLAN)
        ledger.add(7, values, source)
        ledger.close()
    found = Ledger(tmp_path / "ledger.jsonl", PLAN)
    assert found.sources(7, VALUES + 1) == {"new"}
    assert found.sources(7, VALUES) == {"old", "older"}
