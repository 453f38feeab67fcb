"""What calls show of targets: means that fade, prefixes that are held for a while, nothing that is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.usage import Usage
from gateway import observed
from gateway.observed import HELD_SECONDS, HELD_SECONDS_1H, WAIT_SECONDS_KEPT, Observed, follow
from policies.facts import Segment

LONG = "a long text " * 500
"""1,500 tokens, as estimated."""
NOW = 1_000_000.0


def said(*texts: str, role: str = "user") -> list[Segment]:
    return [Segment(role, "text", one) for one in texts]


def test_nothing_is_known_of_what_nobody_called() -> None:
    """No wait, no length, no prefix."""
    seen = Observed()
    assert seen.expected_wait("t", NOW) is None
    assert seen.expected_output("t", "code") is None
    assert seen.find_held(follow("o", [], said(LONG)), NOW) == {}


def test_a_wait_is_forgotten() -> None:
    """A mean of the last ones, unknown again when nobody was there for a while."""
    seen = Observed()
    for seconds in (1.0, 3.0):
        seen.note_wait("t", seconds, NOW)
    assert seen.expected_wait("t", NOW + WAIT_SECONDS_KEPT) == 2.0
    assert seen.expected_wait("t", NOW + WAIT_SECONDS_KEPT + 1) is None


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=60))
def test_a_mean_stays_among_its_values(waits: list[float]) -> None:
    """Never beyond what was seen, and near the last ones after many of them."""
    seen = Observed()
    for one in waits:
        seen.note_wait("t", one, NOW)
    mean = seen.expected_wait("t", NOW)
    assert mean is not None
    assert min(waits) - 1e-6 <= mean <= max(waits) + 1e-6
    for _again in range(60):
        seen.note_wait("t", 5.0, NOW)
    after = seen.expected_wait("t", NOW)
    assert after is not None
    assert abs(after - 5.0) <= abs(mean - 5.0) * 0.01 + 1e-9


def test_lengths_are_of_one_answer_and_by_task() -> None:
    """Two choices are two answers; a task without answers of its own has those of all."""
    seen, trail = Observed(), follow("o", [], said("hi"))
    seen.note_answer("t", "code", trail, Usage(10, 800), 2, NOW, NOW)
    seen.note_answer("t", "chat", trail, Usage(10, 100), 1, NOW, NOW)
    assert seen.expected_output("t", "code") == 400
    assert seen.expected_output("t", "chat") == 100
    assert seen.expected_output("t", "math") == seen.expected_output("t", None) == 250


def test_words_of_callers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tasks, those named last are kept; the length of all answers always is."""
    monkeypatch.setattr(observed, "TASK_LENGTHS_MAX", 3)
    seen, trail = Observed(), follow("o", [], said("hi"))
    for task in ("code", "a", "b", "code", "c"):
        seen.note_answer("t", task, trail, Usage(10, 800 if task == "code" else 100), 1, NOW, NOW)
    assert seen.expected_output("t", "code") == 800
    assert seen.expected_output("t", "c") == 100
    assert seen.expected_output("t", "a") == seen.expected_output("t", None) == 380


def test_an_answer_that_was_cut_says_nothing_of_lengths() -> None:
    """A cap of one token does not make a host terse."""
    seen, trail = Observed(), follow("o", [], said("hi"))
    seen.note_answer("t", None, trail, Usage(10, 1), None, NOW, NOW)
    assert seen.expected_output("t", None) is None


def note(
    seen: Observed, target: str, texts: list[Segment], read: int, for_an_hour: int = 0
) -> None:
    trail = follow("o", [], texts)
    tokens = trail.tokens[-1] if trail.tokens else 1
    usage = Usage(tokens, 5, read, cache_write_1h_tokens=for_an_hour)
    seen.note_answer(target, None, trail, usage, 1, NOW, NOW)


def test_calls_beside_each_other_do_not_miss() -> None:
    """What was not sent yet when a call began could not be read from a cache: no sign that nothing is held."""
    seen, trail = Observed(), follow("o", [], said(LONG))
    for began, ended, read in ((0, 10, 0), (1, 11, 0), (20, 21, 1500), (22, 23, 1500)):
        usage = Usage(1501, 5, read)
        seen.note_answer("t", None, trail, usage, 1, NOW + began, NOW + ended)
    assert seen.find_held(trail, NOW + 24)["t"] >= 1490


def test_a_conversation_is_held_where_it_was_as_much_as_was_charged() -> None:
    """Unknown after one turn; after a second that was read from the cache by half, half of the third's beginning."""
    seen = Observed()
    turns = [said(LONG), said(LONG, "one", "two"), said(LONG, "one", "two", LONG)]
    note(seen, "t", turns[0], 0)
    assert seen.find_held(follow("o", [], turns[1]), NOW) == {}
    note(seen, "t", turns[1], 750)
    tokens = follow("o", [], turns[1]).tokens[-1]
    assert seen.find_held(follow("o", [], turns[2]), NOW) == {"t": tokens // 2}
    note(seen, "u", turns[0], 0)
    assert set(seen.find_held(follow("o", [], turns[2]), NOW)) == {"t"}, "of u nobody knows"


@pytest.mark.parametrize(("for_an_hour", "seconds"), [(0, HELD_SECONDS), (1, HELD_SECONDS_1H)])
def test_what_is_held_is_let_go(for_an_hour: int, seconds: float) -> None:
    """After five minutes, or after the hour that was paid for."""
    seen, texts = Observed(), said(LONG)
    for _twice in range(2):
        note(seen, "t", texts, 1499, for_an_hour)
    trail = follow("o", [], texts)
    assert seen.find_held(trail, NOW + seconds - 1)["t"] > 1000
    assert seen.find_held(trail, NOW + seconds) == {}


def test_an_hour_that_was_paid_for_is_not_cut_short() -> None:
    """A later turn that only reads writes nothing for an hour, and takes nothing of the first one's hour."""
    seen, system = Observed(), said(LONG, role="system")
    note(seen, "t", [*system, *said("one")], 0, for_an_hour=1500)
    note(seen, "t", [*system, *said("two")], 1500)
    trail = follow("o", [], [*system, *said("three")])
    assert seen.find_held(trail, NOW + HELD_SECONDS_1H - 1)["t"] >= 1400


@pytest.mark.parametrize(
    "other",
    [
        follow("p", [], said(LONG)),
        follow("o", [Segment("tool", "tool_definition", "a tool")], said(LONG)),
        follow("o", [], said(LONG, role="assistant")),
        follow("o", [], said("b" + LONG)),
        follow("o", [], said("short")),
    ],
)
def test_another_beginning_is_not_held(other: observed.Trail) -> None:
    """Another organisation's, under other tools, of another speaker, another text; nor one that is too short."""
    seen = Observed()
    for _twice in range(2):
        note(seen, "t", said(LONG), 1500)
    assert seen.find_held(follow("o", [], said(LONG)), NOW)
    assert seen.find_held(other, NOW) == {}


def test_what_is_no_part_of_the_prompt_changes_nothing() -> None:
    """A seed, a stop word or a hint is not what is cached."""
    beside = [Segment("user", "other", "42")]
    assert follow("o", beside, said(LONG)).marks == follow("o", [], said(LONG)).marks


def test_a_shared_opening_is_held_for_new_conversations() -> None:
    """What the system says first is the same for many."""
    seen, system = Observed(), said(LONG, role="system")
    for text in ("one", "two"):
        note(seen, "t", [*system, *said(text)], 1500)
    assert seen.find_held(follow("o", [], [*system, *said("three")]), NOW)["t"] >= 1400


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest conversations are forgotten first."""
    monkeypatch.setattr(observed, "CONVERSATIONS_MAX", 10)
    seen = Observed()
    texts = [said(f"{at} {LONG}") for at in range(30)]
    for one in (texts[0], *texts):
        note(seen, "t", one, 1500)
    held = [bool(seen.find_held(follow("o", [], one), NOW)) for one in texts]
    assert held == [False] * 20 + [True] * 10
