"""Every recorded chat answer is read as events: the same at any cuts, with the texts and calls in it."""

import itertools
import json
import random
from pathlib import Path

import pytest

from backends.wire.events import CallDelta, CallStart, End, Event, Finish, Start, TextDelta
from backends.wire.failure import WireError
from backends.wire.openai_chat import EventParser
from tests.wire.test_openai_chat_corpus import ERRORS_IN_200, Exchange, read, streams, write

WITHOUT_REASON = {"2f45d126a6-00"}
"""A stream of the host's own end, but of no finish reason: none is made up."""


@pytest.fixture(scope="module")
def exchanges(shared: Path) -> list[Exchange]:
    """All recorded chats, with a body."""
    return [one for path in sorted((shared / "exchanges").glob("*.jsonl*")) for one in read(path)]


def parse(choices: int, *chunks: bytes) -> list[Event] | str:
    """The events, or what was wrong."""
    parser = EventParser(choices=choices)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    try:
        return events + parser.finish()
    except WireError as error:
        return error.failure.message


def test_recorded_streams_are_read_at_any_cuts(exchanges: list[Exchange]) -> None:
    """One start, one finish a choice, one end; and cutting the bytes changes nothing."""
    rng = random.Random(7)
    count = 0
    for exchange, body, prompt in streams(exchanges):
        whole = parse(prompt.choices, body)
        cuts = sorted({0, len(body), *(rng.randrange(len(body) + 1) for _ in range(20))})
        pieces = [body[a:b] for a, b in itertools.pairwise(cuts)]
        assert parse(prompt.choices, *pieces) == whole, exchange["id"]
        if isinstance(whole, str):
            assert exchange["id"] in ERRORS_IN_200 | WITHOUT_REASON, (exchange["id"], whole)
            continue
        count += 1
        assert isinstance(whole[0], Start)
        assert isinstance(whole[-1], End)
        assert sum(isinstance(event, Finish) for event in whole) == prompt.choices
    assert count > 50


def test_recorded_answers_keep_texts_and_calls(exchanges: list[Exchange]) -> None:
    """What a plain answer says and calls is in its events."""
    count = 0
    for exchange in exchanges:
        body = exchange["response"]["body"]
        if exchange["stream"] or exchange["response"]["status"] != 200:
            continue
        said = json.loads(body) if isinstance(body, str) else body
        if not said.get("choices"):
            continue
        events = EventParser(choices=len(said["choices"])).read_answer(write(said))
        count += 1
        for at, choice in enumerate(said["choices"]):
            message = choice["message"]
            if isinstance(message.get("content"), str):
                texts = [e.text for e in events if isinstance(e, TextDelta) and e.choice == at]
                assert "".join(texts) == message["content"]
            calls = [one for one in message.get("tool_calls") or [] if "function" in one]
            starts = [e for e in events if isinstance(e, CallStart) and e.choice == at]
            assert [start.name for start in starts] == [one["function"]["name"] for one in calls]
            deltas = [e.arguments for e in events if isinstance(e, CallDelta) and e.choice == at]
            assert "".join(deltas) == "".join(one["function"]["arguments"] or "" for one in calls)
    assert count > 100
