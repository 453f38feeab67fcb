"""Disguises are taken off before the rules look."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.classify import Classifier
from policies.classify.folding import FEW, fold, fold_text
from policies.facts import Segment

CARD = "4111111111111111"


@pytest.mark.parametrize(
    "text",
    [
        "".join(chr(0xFF10 + int(digit)) for digit in CARD),
        "".join(chr(0x0660 + int(digit)) for digit in CARD),
        "".join(chr(0x1D7CE + int(digit)) for digit in CARD),
        "\u200b".join(CARD),
        "\u00ad".join(CARD),
        "\u2060".join(CARD),
        "4111\u20131111\u20141111\u20111111",
        "4111\u00a01111\u202f1111\u20031111",
    ],
    ids=["full width", "arabic", "bold", "zero width", "soft hyphen", "joiner", "dashes", "spaces"],
)
def test_disguised_card_is_found(text: str) -> None:
    """Other digits, invisible characters and typographic separators hide nothing."""
    assert "pii.card" in Classifier().scan([Segment("user", "text", f"é {text}")]).found


@given(st.text())
def test_folding_leaves_nothing_to_fold(text: str) -> None:
    """Folded text is its own folding, and ASCII stays what it is."""
    raw = text.encode("utf-8", "replace")
    once = fold(raw)
    assert fold(once) == once
    assert not text.isascii() or once == raw


@given(st.lists(st.sampled_from(["a", "é", "4", "\uff14", "\u200b", "\u2013", "\u0664", "中"])))
def test_place_by_place_is_the_same_as_at_once(parts: list[str]) -> None:
    """The short way for few places and the long way for many agree."""
    text = "".join(parts)
    assert fold(text.encode()) == unicodedata.normalize("NFKC", fold_text(text)).encode()
    many = text + "\uff14" * (FEW + 1)
    assert fold(many.encode()) == fold_text(many).encode()
