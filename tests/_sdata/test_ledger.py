"""What is done is noted once it is done, and half a note is none."""

from pathlib import Path

import numpy as np
import pytest

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata.ledger import Ledger

PLAN = {"sha256": "abc", "step": (4.0, 4.0)}
VALUES = np.array([1.0, np.nan], np.float32)


def test_what_was_noted_is_found_again_and_half_a_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path, PLAN)
    first.add(3, VALUES)
    first.close()
    path.write_text(path.read_text() + '{"block": 4, "dig')
    again = Ledger(path, PLAN)
    assert again.holds(3, VALUES.copy())
    assert not again.holds(3, VALUES + 1)
    assert not again.holds(4, VALUES)
    again.add(4, VALUES)
    again.close()
    assert set(Ledger(path, PLAN).done) == {3, 4}


def test_another_plan_is_refused_with_what_differs(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.jsonl", PLAN).close()
    with pytest.raises(PixnetValueError, match=r"\(sha256: 'abc' then, 'xyz' now\).*resume=False"):
        Ledger(tmp_path / "ledger.jsonl", {**PLAN, "sha256": "xyz"})
