"""P4: a cut answer never looks finished, and what was left out is listed or refused."""

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backends.wire import relay
from backends.wire.events import Event, TextDelta
from backends.wire.outcome import Outcome
from tests.gateway_process import RunningGateway, running_gateway
from tests.upstreams import Fault, Scripted, Upstream, event, running_upstream


def claude(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def chat(delta: dict[str, object], finish: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return event(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "served",
            "choices": choices,
        }
    )


def gemini(text: str, **candidate: object) -> bytes:
    content = {"role": "model", "parts": [{"text": text}]}
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}
    said = {"candidates": [{"index": 0, "content": content, **candidate}], "modelVersion": "g"}
    return event(said | {"usageMetadata": counts})


STREAMS: dict[str, tuple[bytes, ...]] = {
    "openai/gpt-5.5": (
        chat({"role": "assistant", "content": ""}), chat({"content": "one "}), chat({"content": "two"}),
        chat({}, "stop"),
        event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "served", "choices": [],
               "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}),
        b"data: [DONE]\n\n",
    ),
    "anthropic/claude-opus-5-5": (
        claude("message_start", message={"id": "m", "type": "message", "role": "assistant", "content": [],
               "model": "served", "usage": {"input_tokens": 9, "output_tokens": 1}}),
        claude("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        claude("content_block_delta", index=0, delta={"type": "text_delta", "text": "one "}),
        claude("content_block_delta", index=0, delta={"type": "text_delta", "text": "two"}),
        claude("content_block_stop", index=0),
        claude("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4}),
        claude("message_stop"),
    ),
    "gemini/gemini-2.5-pro": (gemini("one "), gemini("two"), gemini("", finishReason="STOP")),
}  # fmt: skip
CUTS = [(name, at) for name, events in STREAMS.items() for at in range(len(events))]


@dataclass(frozen=True)
class Stage:
    """A gateway before a host that plays every provider."""

    gateway: RunningGateway
    host: Upstream

    def stream(self, target: str, events: tuple[bytes, ...], fault: Fault = "") -> list[Any]:
        """The data of each event that the client sees; ``None`` is ``[DONE]``."""
        self.host.script.append(Scripted(chunks=events, fault=fault, is_stream=True))
        answer = self.gateway.say("hi", target, stream=True)
        if not answer.headers["content-type"].startswith("text/event-stream"):
            assert answer.status_code >= 500
            return [answer.json()]
        data = [one.removeprefix("data: ") for one in answer.text.split("\n\n") if one]
        return [None if one == "[DONE]" else json.loads(one) for one in data]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One for the module: nothing here depends on what came before."""
    home = Path(tmp_path_factory.mktemp("home"))
    with running_upstream() as host:
        environ = {
            "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{host.url}/v1", "ANTHROPIC_API_KEY": "k",
            "ANTHROPIC_BASE_URL": host.url, "GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": host.url,
        }  # fmt: skip
        with running_gateway(home, environ) as gateway:
            yield Stage(gateway, host)


def finishes(events: list[Any]) -> list[str]:
    return [
        choice["finish_reason"]
        for one in events
        if one
        for choice in one.get("choices", ())
        if choice.get("finish_reason")
    ]


@pytest.fixture(autouse=True)
def healthy(stage: Stage) -> None:
    """A target that failed in the test before is asked all the same."""
    for name in STREAMS:
        stage.gateway.runtime.services.signals.health.record_success(name, 0.0)


@pytest.mark.parametrize("target", STREAMS)
def test_whole_stream_finishes_once(stage: Stage, target: str) -> None:
    """What the cuts below are cut from: text, one finish, the end mark, no error."""
    events = stage.stream(target, STREAMS[target])
    assert finishes(events) == ["stop"]
    assert events[-1] is None
    assert not any("error" in one for one in events if one)


@pytest.mark.parametrize("fault", ["cut", "reset"])
@pytest.mark.parametrize(("target", "at"), CUTS)
def test_cut_stream_ends_in_an_error(stage: Stage, target: str, at: int, fault: Fault) -> None:
    """Wherever the provider breaks off, the client is told, and sees no end that the provider did not send.

    After the provider's own finish the rest is bookkeeping: the finish stands, the error comes behind it.
    """
    kept = STREAMS[target][:at]
    events = stage.stream(target, kept, fault)
    assert "error" in events[-1]
    assert events[-1]["error"]["type"] == "server_error"
    is_finished = any(
        word in b"".join(kept) for word in (b'"finish_reason": "stop"', b'"stop"', b"end_turn")
    )
    assert finishes(events) in ([], ["stop"] if is_finished else [])
    assert None not in events


@pytest.mark.parametrize("target", STREAMS)
def test_cut_inside_an_event_ends_in_an_error(stage: Stage, target: str) -> None:
    """Half an event is no event."""
    *whole, last = STREAMS[target][:3]
    events = stage.stream(target, (*whole, last[: len(last) // 2]), "cut")
    assert "error" in events[-1]
    assert finishes(events) == []


@pytest.mark.parametrize("target", list(STREAMS)[1:])  # Of those that are translated.
def test_a_defect_of_ours_ends_in_an_error_too(
    stage: Stage, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks in the middle, the client is told; what was used is booked, and the log knows where."""
    seen: list[Event] = []

    def break_at_the_second_text(outcome: Outcome, said: Event) -> None:
        seen.extend([said] if isinstance(said, TextDelta) else [])
        if len(seen) > 1:
            raise RuntimeError("a bug")
        read(outcome, said)

    read = relay.read_event
    monkeypatch.setattr(relay, "read_event", break_at_the_second_text)
    events = stage.stream(target, STREAMS[target])
    assert finishes(events) == []
    assert events[-1]["error"]["type"] == "server_error"
    row = max(stage.gateway.rows("attempts"), key=lambda row: row["started_at"])
    assert (row["state"], row["usage_source"]) == ("interrupted", "bound")


@pytest.mark.parametrize("target", STREAMS)
def test_provider_s_own_word_for_the_end_is_kept(stage: Stage, target: str) -> None:
    """The client reads its format's word, the accounts keep the provider's."""
    before = {row["attempt_id"] for row in stage.gateway.rows("attempts")}
    stage.stream(target, STREAMS[target])
    (row,) = (row for row in stage.gateway.rows("attempts") if row["attempt_id"] not in before)
    raw = {"openai": "stop", "anthropic": "end_turn", "gemini": "STOP"}[
        target.split("/", maxsplit=1)[0]
    ]
    assert (row["finish_reason"], row["raw_finish_reason"]) == ("stop", raw)
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (9, 4, "provider")


@pytest.mark.parametrize(
    ("target", "member"),
    [
        ("openai/gpt-5.5", {"top_k": 3}),
        ("anthropic/claude-opus-5-5", {"logit_bias": {"5": 1}}),
        ("gemini/gemini-2.5-pro", {"logit_bias": {"5": 1}}),
        ("anthropic/claude-opus-5-5", {"member_of_tomorrow": True}),
    ],
)  # fmt: skip
def test_what_a_target_cannot_take_is_listed_or_refused(
    stage: Stage, target: str, member: dict[str, object]
) -> None:
    """In a header and in the record; with strictness nothing is sent at all."""
    (name,) = member
    stage.host.script.append(Scripted(chunks=STREAMS[target], is_stream=True))
    answer = stage.gateway.say("hi", target, stream=True, **member)
    shown = answer.headers["x-moegate-dropped"]
    assert shown in (name, f"unknown.{name}")
    assert shown in stage.gateway.rows("attempts")[-1]["dropped"]
    assert name.encode() not in stage.host.requests[-1].body
    calls = len(stage.host.requests)
    refused = stage.gateway.say("hi", target, x_moegate_strict="true", **member)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, shown)
    assert len(stage.host.requests) == calls
