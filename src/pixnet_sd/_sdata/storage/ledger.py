"""Which blocks of a long piece of work are done, kept in files that survive the process. Knows only files and bytes.

A chunk's existence says nothing: one that holds only fill values is never stored, and one may be half filled. So each
finished block is noted with the digest of its values, after they were written, and looked at again before it counts.
So is what it was made from, by its own digest: values count only while that is the same.
Processes that share the work have a ledger each, side by side in one folder, and all count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixnet_sd._errors import PixnetValueError

PATTERN = "ledger*.jsonl"


class Ledger:
    """One JSON object a line: first the plan, then each finished block."""

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self.path = path
        wanted = json.loads(json.dumps(plan))
        for other in path.parent.glob(PATTERN):
            check_same_plan((read_lines(other) or [wanted])[0], wanted, other)
        write_lines(path, read_lines(path) or [wanted])
        self.file = path.open("a")
        self.refresh()

    def refresh(self) -> None:
        """Take notice of what other processes have done since."""
        lines = [line for path in self.path.parent.glob(PATTERN) for line in read_lines(path)[1:]]
        self.notes: dict[int, set[tuple[str, str]]] = {}
        for line in lines:
            self.notes.setdefault(line["block"], set()).add((line["digest"], line["source"]))

    @property
    def done(self) -> set[int]:
        """Return the blocks that were noted, whatever is stored by now."""
        return set(self.notes)

    def add(self, block: int, values: np.ndarray, source: str) -> None:
        note = digest_values(values), source
        self.notes.setdefault(block, set()).add(note)
        self.file.write(json.dumps({"block": block, "digest": note[0], "source": source}) + "\n")
        self.file.flush()

    def sources(self, block: int, values: np.ndarray) -> set[str]:
        """Find digests of the sources of a block's values; none if these are not what was noted.

        A block may have been made again, from something else and by another process, so all its notes count.
        """
        found = digest_values(values)
        return {source for noted, source in self.notes.get(block, ()) if noted == found}

    def close(self) -> None:
        self.file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read whole lines; a process that is killed, or has a full disk, may leave half a line."""
    text = path.read_text() if path.exists() else ""
    return list(parse_lines(text.splitlines()))


def parse_lines(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write all lines or none."""
    whole = path.with_suffix(".partial")
    whole.write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole.replace(path)


def check_same_plan(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        changes = "; ".join(f"{name}: {found.get(name)!r} then, {wanted.get(name)!r} now" for name in differing)
        raise PixnetValueError(
            f"An interrupted prediction in {path.parent} cannot be resumed, for this one differs from it ({changes}). "
            "Repeat the call as it was, or pass resume=False to begin anew."
        )


def digest_values(values: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()
