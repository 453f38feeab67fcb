"""The scan as a whole: fails closed, forgets nothing at borders, remembers within bounds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.classify import Classifier
from policies.classify import classifier as module
from policies.classify.classifier import (
    AUTOMATON_BYTES_MAX,
    CANDIDATE_WORK,
    DEAR_WORK,
    MEMO_ENTRIES_MAX,
    MEMO_LENGTH_MIN,
    OVERLAP_BYTES,
    PIECE_BYTES,
    RULES,
    SCAN_WORK_MAX,
    TEXT_WORK_MAX,
)
from policies.classify.personal import PERSONAL
from policies.classify.rules import Check, Rule
from policies.facts import Detection, Segment

SHARED = Classifier()


def scan(text: str, classifier: Classifier = SHARED) -> Detection:
    return classifier.scan([Segment("user", "text", text)])


def refuse(whole: str, value: str) -> bool:
    raise RuntimeError(whole + value)


def test_broken_check_makes_its_types_unknown_and_no_other() -> None:
    """A detector that raises is not a detector that found nothing."""
    rules = [Rule("a", "needle", refuse), Rule("b", "needle"), Rule("c", "thread")]
    found = scan("a needle", Classifier(rules))
    assert found.found == {"b"}
    assert found.unknown == {"a"}
    assert found.fault == "a: RuntimeError"


@pytest.mark.parametrize(
    ("uuid", "kind"),
    [
        ("01a36b2b-0390-7841-9794-b68cfb58f1af", "pii.phone"),
        ("01a28fbd-7405-7816-8964-feaa41034d6b", "pii.national_id"),
        ("7a4645f4-c48a-4102-9343-33519a2e78dc", "pii.card"),
        ("ee45f146-7d17-4025-9183-0ab7f194f4d1", "pii.iban"),
    ],
)
def test_a_piece_of_a_uuid_is_nobodys(uuid: str, kind: str) -> None:
    """Sessions and turns of agents are named so; what is not quite a UUID is looked at as ever, and so is what
    stands beside one."""
    assert not scan(f'{{"session_id": "{uuid}"}}').found
    assert not scan(json.dumps({"turn": json.dumps({"id": uuid})})).found
    assert not scan(f"{uuid.upper()}:0").found
    assert (
        kind
        in scan(uuid.partition("-")[2]).found
        | scan(uuid.rpartition("-")[0]).found
        | scan(uuid[3:]).found
    )
    assert "pii.card" in scan(f"{uuid} 4111 1111 1111 1111").found
    assert "pii.phone" in scan(f"{uuid} tel 030 23125 028").found


def test_digits_alone_are_no_uuid() -> None:
    """They may be anything else."""
    assert scan("85178034-2588-4522-8416-003280481050").found == {"pii.phone"}
    assert not scan("8517803a-2588-4522-8416-003280481050").found


def test_the_first_fault_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two detectors that break on one text the first is named, also where the scan then ends."""

    def refuse_otherwise(whole: str, value: str) -> bool:
        raise KeyError(whole + value)

    rules = [Rule("a", "needle", refuse), Rule("b", "thread", refuse_otherwise)]
    assert (
        scan("needle" + " " * PIECE_BYTES + "thread", Classifier(rules)).fault == "a: RuntimeError"
    )

    class BreaksOff:
        def Match(self, text: bytes) -> list[int]:  # noqa: N802  # as the library calls it
            if b"needle" in text:
                return [0, len(rules)]
            raise MemoryError

    classifier = Classifier(rules)
    monkeypatch.setattr(classifier, "_set", BreaksOff())
    found = scan("needle" + " " * PIECE_BYTES + "thread", classifier)
    assert found.fault == "a: RuntimeError"
    assert found.unknown == {"a", "b"}


def test_type_found_by_another_rule_is_not_unknown() -> None:
    """One working detector is enough to know."""
    found = scan("a needle", Classifier([Rule("a", "needle", refuse), Rule("a", "needle")]))
    assert found.found == {"a"}
    assert found.unknown == frozenset()


def test_broken_set_makes_everything_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE2 says nothing found also where it ran out of memory: then nobody has looked."""

    class Silent:
        def Match(self, text: bytes) -> None:  # noqa: N802  # as the library calls it
            return None

    classifier = Classifier()
    monkeypatch.setattr(classifier, "_set", Silent())
    assert scan("hello", classifier).unknown == classifier.types


def test_what_broke_once_is_looked_at_again() -> None:
    """A fault that passes leaves nothing unknown behind in the memory."""
    faults = [True]

    def check(whole: str, value: str) -> bool:
        if faults:
            raise RuntimeError(faults.pop())
        return True

    classifier = Classifier([Rule("a", "needle", check)])
    text = "needle " * 20
    assert scan(text, classifier).unknown == {"a"}
    assert scan(text, classifier).found == {"a"}


def test_too_many_candidates_are_unknown() -> None:
    """The work on one text is bounded, and what was not looked at is not known."""
    looked: list[str] = []

    def refuse_all(whole: str, value: str) -> bool:
        looked.append(whole + value)
        return False

    rules = [Rule("a", "n", refuse_all), Rule("b", "needle")]
    fitting = TEXT_WORK_MAX // (CANDIDATE_WORK + 1)
    few = Classifier(rules)
    # Borders of pieces are looked at twice, which costs a sixteenth.
    assert scan("n" * (fitting * 9 // 10), few).unknown == frozenset()
    assert scan("n" * (fitting * 11 // 10), few).unknown == {"a"}
    assert len(looked) <= 2 * fitting
    # What needs no closer look is still seen behind it.
    assert scan("n" * 2 * fitting + "needle", Classifier(rules)).found == {"b"}


def test_work_of_a_whole_request_is_bounded() -> None:
    """Many texts that each cost much: the last ones are unknown, and known when they come again alone."""
    rules = [Rule("a", "n", lambda whole, value: False)]
    classifier = Classifier(rules)
    dear = TEXT_WORK_MAX // (CANDIDATE_WORK + 1) * 9 // 10
    count = SCAN_WORK_MAX // TEXT_WORK_MAX + 3
    segments = [Segment("user", "text", "n" * (dear - at)) for at in range(count)]
    first = classifier.scan(segments)
    assert first.unknown == {"a"}
    assert classifier.scan(segments[-1:]).unknown == frozenset()
    # The others are in the memory and cost nothing.
    assert classifier.scan(segments).unknown == frozenset()


def test_short_texts_are_work_too() -> None:
    """Texts too short for the memory count like others: past the bound nobody looks, and nothing is known."""
    looked: list[str] = []

    def refuse_all(whole: str, value: str) -> bool:
        looked.append(whole + value)
        return False

    classifier = Classifier([Rule("a", "n", refuse_all), Rule("b", "needle")])
    text = "n" * (MEMO_LENGTH_MIN - 1)
    fitting = SCAN_WORK_MAX // (len(text) * (CANDIDATE_WORK + 1)) + 1
    segments = [Segment("user", "text", text)] * fitting
    assert classifier.scan(segments).unknown == frozenset()
    count = len(looked)
    assert classifier.scan([*segments, *segments]).unknown == {"a", "b"}
    assert len(looked) == 2 * count


@pytest.mark.parametrize(
    ("text", "is_tried"),
    [
        (" (12) 345-6789 x", True),
        (" 0900 11 22 33 x", True),
        (" +999 1234567 x", False),  # no country has it
        (" +49 1234567 x", True),
    ],
)
def test_telephone_numbers_are_paid_for(text: str, is_tried: bool) -> None:
    """Megabytes of what is nearly a telephone number, spread over texts: no more than some thousand are tried."""
    tried = [0]

    def counting(check: Check) -> Check:
        def count(whole: str, value: str) -> bool:
            tried[0] += 1
            return check(whole, value)

        return count

    rules = [one._replace(dear=counting(one.dear)) if one.dear else one for one in PERSONAL]
    segments = [Segment("user", "text", text * 20_000 + str(at)) for at in range(6)]
    found = Classifier(rules).scan(segments)
    assert tried[0] <= SCAN_WORK_MAX // DEAR_WORK
    assert (tried[0] > 0) == is_tried
    assert not is_tried or "pii.phone" in found.unknown | found.found


@pytest.mark.parametrize("text", ["\u00ad", "a\u00ad"])
def test_what_cannot_be_seen_is_paid_for(text: str) -> None:
    """Megabytes of it are taken out once, not again for each level of escapes."""
    classifier = Classifier()
    found = classifier.scan([Segment("user", "text", text * 5_000_000 + "\\" * 32)])
    assert found.unknown == classifier.types
    assert not found.found


def test_dates_cost_little() -> None:
    """A table with ten thousand dates is read to its end: what cannot be a telephone number is none."""
    assert scan("05.11.2025;01-12-2024\n" * 5_000).unknown == frozenset()


@pytest.mark.parametrize(
    ("text", "kind"),
    [("4111 1111 1111 1112 ", "pii.card"), ("password = ", "secret.password"), ("4", "pii.card")],
)
def test_hostile_text_is_not_looked_at_to_its_end(text: str, kind: str) -> None:
    """Megabytes of what looks like something, seconds of work without the bound: unknown instead."""
    assert kind in scan(text * (3_000_000 // len(text)), Classifier()).unknown


def test_all_shipped_rules_fit_the_automaton() -> None:
    """The rules compile within a quarter of the memory they may use, the rest is for their states."""
    Classifier(automaton_bytes_max=AUTOMATON_BYTES_MAX // 4)


@given(st.integers(min_value=-120, max_value=120), st.integers(min_value=0, max_value=2))
def test_value_across_a_border_is_found(offset: int, piece: int) -> None:
    """Long texts are looked at in pieces, and no value falls between two."""
    border = PIECE_BYTES + piece * (PIECE_BYTES - OVERLAP_BYTES)
    text = "lorem ipsum " * 6000
    at = border + offset
    assert scan(f"{text[:at]} 4111 1111 1111 1111 {text[at:]}").found == {"pii.card"}


@given(st.text(max_size=200), st.text(max_size=200))
def test_surroundings_hide_nothing(before: str, after: str) -> None:
    """Whatever stands in other lines, a card number is found."""
    found = scan(f"{before}\n4111 1111 1111 1111\n{after}")
    assert "pii.card" in found.found | found.unknown


@given(st.text() | st.text(alphabet="0123456789 -./+@aZ_=:\"'"))
def test_any_text_is_looked_at(text: str) -> None:
    """No text breaks a rule."""
    assert scan(text).unknown == frozenset()


def test_lone_surrogates_are_looked_past() -> None:
    """Half a character, as JSON allows, neither breaks the scan nor hides what follows."""
    assert scan("\ud800 4111 1111 1111 1111").found == {"pii.card"}


def test_second_look_is_from_memory_and_the_memory_is_bounded() -> None:
    """A text that was seen is not scanned again; old ones are forgotten."""
    seen: list[str] = []

    def note(whole: str, value: str) -> bool:
        seen.append(whole + value)
        return True

    classifier = Classifier([Rule("a", "needle", note)])
    text = "needle " * 20
    assert scan(text, classifier) == scan(text, classifier)
    assert len(seen) == 1
    for number in range(MEMO_ENTRIES_MAX):
        scan(f"{number:064d}", classifier)
    scan(text, classifier)
    assert len(seen) == 2


def test_a_text_in_use_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for again and again outlives any number of texts that are seen once."""
    monkeypatch.setattr(module, "MEMO_ENTRIES_MAX", 4)
    seen: list[str] = []

    def note(whole: str, value: str) -> bool:
        seen.append(whole + value)
        return True

    classifier = Classifier([Rule("a", "needle", note)])
    for number in range(3 * 4):
        scan("needle " * 20, classifier)
        scan(f"{number:064d}", classifier)
    assert len(seen) == 1


def test_segments_add_up() -> None:
    """What any segment holds, the prompt holds."""
    segments = [
        Segment("user", "text", "jo@example.org"),
        Segment("tool", "tool_result", "4111 1111 1111 1111"),
    ]
    assert SHARED.scan(segments).found == {"pii.email", "pii.card"}


def test_version_follows_the_rules() -> None:
    """Another rule set has another version; the same has the same."""
    assert Classifier().version == SHARED.version
    assert Classifier(RULES[1:]).version != SHARED.version
