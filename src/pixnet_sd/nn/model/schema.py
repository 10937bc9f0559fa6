"""The keys of `model.json` and the kinds of their values.

Whether a network can be built from it, and whether it fits the weights, is checked elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.model.domain import NUMBERS
from pixnet_sd.nn.network.config import all_of, is_number, is_text

# Numbers of a card, by gene.
SCORES = ("scores", "residuals")
# Largest number in a file, so that small powers of it stay finite.
LARGEST = 1e300


def is_curve_value(value: Any) -> bool:
    """Return whether a value is a number; a score may be NaN, where an epoch had none."""
    return is_number(value, -LARGEST, LARGEST) or (isinstance(value, float) and math.isnan(value))


def is_card(card: Any) -> bool:
    if not isinstance(card, dict):
        return False
    scores = [card.get(name, {}) for name in SCORES]
    texts = [value for key, value in card.items() if key not in (*SCORES, "reliable")]
    known = all(isinstance(one, dict) and all_of(list(one.values()), is_curve_value) for one in scores)
    return known and all_of(texts, is_text) and all_of(card.get("reliable", []), is_text)


def is_history(history: Any) -> bool:
    return isinstance(history, dict) and all(all_of(curve, is_curve_value) for curve in history.values())


def is_reference(found: Any) -> bool:
    keys = {"name", "revision", "sha256", "tensors"}
    return found is None or isinstance(found, dict) and set(found) == keys and all(map(is_text, found.values()))


def is_stain_domain(found: Any) -> bool:
    if found is None:
        return True
    if not isinstance(found, dict) or set(found) != {"mean", "precision", "limit"}:
        return False
    precision = found["precision"] if isinstance(found["precision"], list) else []
    rows = [found["mean"], *precision, [found["limit"]]]
    numbers = all(all_of(row, lambda value: is_number(value, -LARGEST, LARGEST)) for row in rows)
    return numbers and {len(row) for row in [precision, *rows[:-1]]} == {NUMBERS}


RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("format", "version", "sha256"), (lambda value: isinstance(value, str | int), "a text or number")),
    "genes": (lambda value: all_of(value, is_text), "a list of names"),
    "ensembl": (
        lambda value: value is None or all_of(value, lambda one: one is None or is_text(one)),
        "null or a list of ids",
    ),
    "unit": (is_text, "a text"),
    "mpp": (lambda value: is_number(value, 0, LARGEST), "a number"),
    "library_size": (lambda value: value is None or is_number(value, 0, LARGEST), "null or a number of at least 0"),
    "members": (
        lambda value: all_of(value, lambda one: isinstance(one, dict)) and len(value) > 0,
        "a list of one or more networks",
    ),
    "shared_features": (lambda value: isinstance(value, bool), "true or false"),
    "card": (is_card, "texts, and numbers by gene for `scores` and `residuals`"),
    "history": (is_history, "lists of numbers by name"),
    "encoder": (is_reference, "null, or texts that name an encoder to be fetched"),
    "stain_domain": (is_stain_domain, "null or numbers for `mean`, `precision` and `limit` that fit together"),
}


# Keys that models of earlier releases lack, with the value that stands for them.
LATER: Mapping[str, Any] = {"stain_domain": None, "encoder": None}


def check_description(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Check the keys of a description and the kinds of their values; return it with keys of later releases."""
    description = {**LATER, **stored}
    if set(description) != set(RULES):
        raise PixnetValueError(
            f"it has unknown keys {sorted(set(description) - set(RULES))} and lacks "
            f"{sorted(set(RULES) - set(description))}."
        )
    for key, (test, kind) in RULES.items():
        if not test(description[key]):
            raise PixnetValueError(f"`{key}` must be {kind}; got {shorten_text(description[key])}.")
    return description


def shorten_text(value: Any) -> str:
    """Show a value on one line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
