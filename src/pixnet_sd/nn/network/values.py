"""What plain values may be: whole numbers and numbers within bounds, texts, lists of them. Knows nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any


def is_a(value: Any, kind: type) -> bool:
    """Truth values count as numbers in Python, and never here."""
    return isinstance(value, kind) and not isinstance(value, bool)


def is_whole(value: Any, low: int, high: float = math.inf) -> bool:
    return is_a(value, Integral) and low <= value <= high


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Within the bounds, which may be infinite; NaN never is."""
    return is_a(value, Real) and low <= value <= high


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def all_of(values: Any, test: Callable[[Any], bool]) -> bool:
    """Whether it is a list or a tuple in which every value passes."""
    return isinstance(values, list | tuple) and all(map(test, values))
