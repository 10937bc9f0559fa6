"""Every gene is listed once, best first, and what is weak or unknown says so."""

from types import SimpleNamespace

import pytest

from pixnet_sd import pl
from pixnet_sd._errors import PixnetTypeError


def carded(scores: dict[str, float], genes: tuple[str, ...] = ("A", "B", "C", "D")) -> SimpleNamespace:
    card = SimpleNamespace(name="mine", tissue="breast", species="human", validation="section C4", scores=scores)
    return SimpleNamespace(genes=genes, card=card)


def test_genes_are_listed_best_first_with_the_weak_and_the_unknown_named() -> None:
    table = pl.model(carded({"A": 0.1999, "B": 0.6, "D": 0.2})).data
    assert list(table.index) == ["B", "D", "A", "C"]
    assert list(table["note"]) == ["", "", "weak, below 0.2", "not scored"]


def test_the_head_sums_up_and_the_table_can_be_shown() -> None:
    styled = pl.model(carded({"A": 0.1, "B": 0.6, "D": 0.2}))
    assert "mine: 4 genes, breast, human; mean Pearson 0.30 on section C4; 1 of 3 below 0.2" in styled.to_html()
    assert "no gene was scored" in pl.model(carded({})).to_html()


def test_long_words_are_not_cut() -> None:
    name = "a name longer than the fifty characters at which pandas cuts a text"
    styled = pl.model(carded({name: 0.1}, (name,)))
    assert name in styled.to_html()
    assert name in styled.to_string()


def test_what_is_not_a_model_is_refused() -> None:
    with pytest.raises(PixnetTypeError, match="got dict"):
        pl.model({})  # type: ignore[arg-type]
