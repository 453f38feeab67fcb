"""Disguises are taken off before the rules look."""

import tracemalloc
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.classify import Classifier
from policies.classify.folding import BYTES_A_PLACE, fold, fold_text, uncover
from policies.facts import Segment

CARD = "4111111111111111"
SHARED = Classifier()


@pytest.mark.parametrize(
    "text",
    [
        "".join(chr(0xFF10 + int(digit)) for digit in CARD),
        "".join(chr(0x0660 + int(digit)) for digit in CARD),
        "".join(chr(0x1D7CE + int(digit)) for digit in CARD),
        "\u200b".join(CARD),
        "\u00ad".join(CARD),
        "\u2060".join(CARD),
        "\U000e0020".join(CARD),
        "\U000e0100".join(CARD),
        "\u3164".join(CARD),
        "\uffa0".join(CARD),
        "\u2800".join(CARD),
        "\u180b".join(CARD),
        "\x00".join(CARD),
        "\x01".join(CARD),
        "\x7f".join(CARD),
        "\x85".join(CARD),
        "4111\u20131111\u20141111\u20111111",
        "4111\u00a01111\u202f1111\u20031111",
    ],
    ids=[
        "full width",
        "arabic",
        "bold",
        "zero width",
        "soft hyphen",
        "joiner",
        "tag",
        "selector",
        "filler",
        "half-width filler",
        "braille",
        "mongolian",
        "nul",
        "soh",
        "del",
        "nel",
        "dashes",
        "spaces",
    ],
)
def test_disguised_card_is_found(text: str) -> None:
    """Other digits, invisible characters and typographic separators hide nothing."""
    for before in ("", "é "):
        assert "pii.card" in SHARED.scan([Segment("user", "text", before + text)]).found


@given(st.text())
def test_folding_leaves_nothing_to_fold(text: str) -> None:
    """Folded text is its own folding, and ASCII stays what it is."""
    raw = uncover(text.encode("utf-8", "replace"))
    once = fold(raw)
    assert uncover(once) == once
    assert fold(once) == once
    assert not text.isascii() or once is raw


@given(st.lists(st.sampled_from(["a", "é", "4", "\uff14", "\u2013", "\u0664", "中"])))
def test_place_by_place_is_the_same_as_at_once(parts: list[str]) -> None:
    """The short way for few places and the long way for many agree."""
    text = "".join(parts)
    for padded in (text, text + "b" * BYTES_A_PLACE * len(text)):
        assert fold(padded.encode()) == unicodedata.normalize("NFKC", fold_text(padded)).encode()


def test_everything_that_shows_as_nothing_is_gone() -> None:
    """Formats and controls of the whole of Unicode but for line ends, tab, and what stands for a gap."""
    hidden = (
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf")
    )
    left = "".join(one for one in hidden if uncover(one.encode()))
    # What follows the line ends are signs that are drawn: Arabic, Syriac and Kaithi numbers and verses.
    assert set(left) <= set(
        "\t\n\v\f\r\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    )


def test_invisible_characters_without_number_hide_nothing() -> None:
    """Ten thousand between two digits, at any place of a long text: they are taken out of the whole."""
    for before in ("", "x " * 7000):
        text = before + ("\u200b" * 10_000).join(CARD)
        assert "pii.card" in SHARED.scan([Segment("user", "text", text)]).found


@pytest.mark.parametrize("one", ["\ufdfa", "\uff14"])
def test_folding_costs_what_it_is_counted_for(one: str) -> None:
    """One character may become eighteen, and any number may need a look: past the bound nobody knows."""
    text = one * (12_000_000 // len(one.encode()))
    tracemalloc.start()
    found = Classifier().scan([Segment("user", "text", text)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.unknown == SHARED.types
    assert peak < 8 * len(text.encode())


def test_usual_text_of_other_scripts_is_known() -> None:
    """Half a megabyte with full-width punctuation in every line."""
    text = "中文文本，测试内容。" * 17_000
    assert SHARED.scan([Segment("user", "text", text)]).unknown == frozenset()
