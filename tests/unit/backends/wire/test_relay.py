"""The glue between two formats: whole answers end, broken ones fail, once."""

import json
from collections.abc import Sequence

import pytest

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    ReasoningDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat import parse_request
from backends.wire.prompt import Prompt
from backends.wire.relay import TranslatingRelay, fold_answer
from backends.wire.rendering import DROPPED_NAMES_MAX
from backends.wire.usage import Usage

USAGE = Usage(10, 7)
BROKEN = Failure("upstream_failed", "broken", may_have_spent=True)
CUT = Failure("upstream_failed", "the answer was cut off before its end", may_have_spent=True)


class Script:
    """A parser that plays events: one list a fed chunk; a failure where a list says so."""

    def __init__(self, *steps: Sequence[Event], breaks_at: int | None = None) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {"citations": None}
        self._steps = list(steps)
        self._breaks_at = breaks_at
        self._at = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The next step, whatever the bytes."""
        events = list(self._steps[self._at])
        if any(isinstance(event, Start) for event in events):
            self.early_input = Usage(10)
        if self._at == self._breaks_at:
            self.failure = BROKEN
        self._at += 1
        return events

    def finish(self) -> list[Event]:
        """Complains if the script has no end."""
        if not any(isinstance(event, End) for step in self._steps for event in step):
            raise WireError(CUT)
        return []


def prompt() -> Prompt:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    return parse_request(json.dumps(body).encode())


def play(script: Script, steps: int) -> tuple[bytes, TranslatingRelay]:
    relay = TranslatingRelay(script, prompt())
    out = b"".join(relay.feed(b"x") for _ in range(steps)) + relay.finish()
    return out, relay


START = Start("m-1", "claude", 1)
SAID: list[Event] = [
    TextDelta("Grüße"),
    ReasoningDelta("hm"),
    CallStart(0, "c", "f"),
    CallDelta(0, "{}"),
]


def test_a_whole_answer_ends_and_is_read() -> None:
    """Bytes for the client, and an outcome with everything that was said of it."""
    out, relay = play(Script([START], SAID, [Finish("tool_call", "tool_use"), End(USAGE)]), 3)
    outcome = relay.outcome
    assert out.endswith(b"data: [DONE]\n\n")
    assert outcome.is_complete
    assert outcome.failure is None
    assert (outcome.response_id, outcome.response_model) == ("m-1", "claude")
    assert (outcome.finish_reason, outcome.raw_finish_reason) == ("tool_call", "tool_use")
    assert (outcome.usage, outcome.early_input) == (USAGE, Usage(10))
    assert outcome.output_bytes == len("Grüße".encode()) + len("hm") + len("f") + len("{}")
    assert outcome.dropped == ("citations",)


@pytest.mark.parametrize(
    ("script", "steps", "failure"),
    [
        (Script([START], SAID), 2, CUT),
        (Script([START], SAID, breaks_at=1), 2, BROKEN),
        (Script([START], [*SAID, Finish("stop", "end_turn")]), 2, CUT),
        (Script(), 0, CUT),
    ],
    ids=["cut", "broken", "cut after its finish", "empty"],
)
def test_an_answer_without_its_end_ends_in_an_error(
    script: Script, steps: int, failure: Failure
) -> None:
    """One error event, no [DONE], and what came before it still passes."""
    out, relay = play(script, steps)
    assert relay.outcome.failure == failure
    assert not relay.outcome.is_complete
    assert out.count(b'data: {"error"') == 1
    assert b"[DONE]" not in out
    assert (steps == 0) == ("Grüße".encode() not in out)


def test_an_error_for_a_finish_fails_and_is_paid() -> None:
    """The provider's word is shown, and usage that comes after it is booked."""
    out, relay = play(Script([START, *SAID, Finish("error", "MALFORMED"), End(USAGE)]), 1)
    assert relay.outcome.failure is not None
    assert b"MALFORMED" in out
    assert b"[DONE]" not in out
    assert relay.outcome.usage == USAGE
    assert not relay.outcome.is_complete


def test_nothing_comes_after_the_end() -> None:
    """Neither events nor a second end, nor a failure that the client would see."""
    relay = TranslatingRelay(
        Script([START, Finish("stop", "x"), End(USAGE), *SAID], SAID), prompt()
    )
    out = relay.feed(b"x")
    assert out.endswith(b"data: [DONE]\n\n")
    assert "Grüße".encode() not in out
    assert relay.feed(b"x") == relay.finish() == b""


def test_a_failure_from_outside_ends_it() -> None:
    """A reset: the client format's error event, then silence."""
    relay = TranslatingRelay(Script([START], SAID), prompt())
    relay.feed(b"x")
    assert json.loads(relay.fail(BROKEN)[6:])["error"]["message"] == "broken"
    assert relay.feed(b"x") == relay.finish() == b""
    assert relay.outcome.failure == BROKEN


def test_a_plain_answer_is_the_fold_of_its_events() -> None:
    """Same outcome as the stream's, with what was lost on both sides named once."""
    events = [START, *SAID, Finish("tool_call", "tool_use"), End(USAGE)]
    answer = fold_answer(prompt(), events, ("citations",))
    streamed = play(Script(events), 1)[1].outcome
    streamed.early_input = None
    assert answer.outcome == streamed
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Grüße"


EVIL = "content.evil\r\nx-injected: yes"


def test_names_that_a_host_made_are_safe_in_a_header() -> None:
    """What it calls its content is cleaned as a client's words are, in plain answers and in streams."""
    events = [START, *SAID, Finish("stop", "end_turn"), End(USAGE)]
    script = Script(events)
    script.dropped = {EVIL: None, **{f"content.{at}": None for at in range(1000)}}
    for dropped in (
        fold_answer(prompt(), events, tuple(script.dropped)).outcome.dropped,
        play(script, 1)[1].outcome.dropped,
    ):
        assert dropped[0] == "content.evil__x-injected__yes"
        assert len(dropped) == DROPPED_NAMES_MAX + 1
