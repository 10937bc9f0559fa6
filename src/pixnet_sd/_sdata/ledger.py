"""Which blocks of a long piece of work are done, kept in a file that survives the process. Knows only files and bytes.

A chunk's existence says nothing: one that holds only fill values is never stored, and one may be half filled. So each
finished block is noted with the digest of its values, after they were written, and looked at again before it counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixnet_sd._errors import PixnetValueError


class Ledger:
    """One JSON object a line: first the plan, then each finished block."""

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self.path = path
        wanted = json.loads(json.dumps(plan))
        lines = read_lines(path) or [wanted]
        require_same(lines[0], wanted, path)
        self.done = {line["block"]: line["digest"] for line in lines[1:]}
        write_lines(path, lines)
        self.file = path.open("a")

    def add(self, block: int, values: np.ndarray) -> None:
        self.done[block] = digest(values)
        self.file.write(json.dumps({"block": block, "digest": self.done[block]}) + "\n")
        self.file.flush()

    def holds(self, block: int, values: np.ndarray) -> bool:
        return self.done.get(block) == digest(values)

    def close(self) -> None:
        self.file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What is whole; a process that is killed may leave half a line at the end."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """All or nothing."""
    whole = path.with_suffix(".partial")
    whole.write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole.replace(path)


def require_same(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        changes = "; ".join(f"{name}: {found.get(name)!r} then, {wanted.get(name)!r} now" for name in differing)
        raise PixnetValueError(
            f"An interrupted prediction in {path.parent} cannot be resumed, for this one differs from it ({changes}). "
            "Repeat the call as it was, or pass resume=False to begin anew."
        )


def digest(values: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()
