"""Every recorded Gemini exchange through the client's side: requests read, answers rendered and read again."""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.genai import types

from backends.wire.clients import CLIENTS
from backends.wire.events import CallDelta, CallStart, End, Event, Finish, ReasoningDelta, TextDelta
from backends.wire.failure import WireError
from backends.wire.gemini import EventParser, render_request
from backends.wire.gemini.parsing import parse_count_request, parse_request
from backends.wire.gemini.passing import open_pass_relay, pass_answer
from backends.wire.gemini.patch import patch_request
from backends.wire.gemini.paths import parse_path
from backends.wire.prompt import Asked, Media, Opaque, Prompt, ToolResult
from tests.wire.test_gemini_corpus import FILES, chunks_of, read

ASKED = Asked("gemini-3-pro-preview", is_stream=True)


@pytest.fixture(scope="module")
def recordings(shared: Path) -> list[dict[str, Any]]:
    """All recorded exchanges in this format, but the one whose role its provider refused too."""
    found = [one for name in FILES for one in read(shared / "exchanges" / name)]
    kept = [one for one in found if '"invalid_role"' not in json.dumps(one["request"]["body"])]
    assert len(kept) == len(found) - 1
    return kept


def prompt_of(exchange: dict[str, Any], asked: Asked = ASKED) -> Prompt:
    return parse_request(json.dumps(exchange["request"]["body"]).encode(), asked)


def said(events: list[Event]) -> list[Any]:
    """What events say, with neighbouring pieces joined and arguments as values."""
    out: list[Any] = []
    for event in events:
        match event:
            case TextDelta(text, choice):
                if out and out[-1][:2] == ("text", choice):
                    text = out.pop()[2] + text
                out.append(("text", choice, text))
            case ReasoningDelta(text, signature, issuer):
                if out and out[-1][0] == "thought" and out[-1][2] is None:
                    text = out.pop()[1] + text
                out.append(("thought", text, signature, issuer))
            case CallStart():
                out.append(("call", event.id, event.name, event.signature, event.issuer))
            case CallDelta(index, arguments):
                out.append(("arguments", index, json.loads(arguments)))
            case Finish() | End():
                out.append(event)
            case _:
                pass
    return out


def answers(recordings: list[dict[str, Any]]) -> list[tuple[str, Prompt, list[Event]]]:
    found: list[tuple[str, Prompt, list[Event]]] = []
    for exchange in recordings:
        if exchange["response"]["status"] == 200:
            events = EventParser().read_answer(json.dumps(chunks_of(exchange)).encode())
            prompt = msgspec.structs.replace(prompt_of(exchange), shows_reasoning=True)
            found.append((exchange["id"], prompt, events))
    return found


def test_every_request_is_understood(recordings: list[dict[str, Any]]) -> None:
    """All of them parse, in the address that they were sent to too."""
    for exchange in recordings:
        prompt = prompt_of(exchange)
        assert prompt.messages, exchange["id"]
        path, _, query = exchange["request"]["path"].partition("?")
        if path.startswith("/v1beta/models/"):
            found = parse_path(path, query.encode())
            assert found is not None
            assert found[0].is_stream is (found[1] == "streamGenerateContent")


def test_every_request_means_the_same_after_translation(recordings: list[dict[str, Any]]) -> None:
    """Parsed, rendered for Gemini and parsed again, a request says the same."""
    count = 0
    for exchange in recordings:
        prompt = prompt_of(exchange)
        parts = [part for message in prompt.messages for part in message.parts]
        media = [p for p in parts if isinstance(p, Media)]
        media += [
            m for p in parts if isinstance(p, ToolResult) for m in p.content if isinstance(m, Media)
        ]
        if any(one.data is None for one in media) or any(isinstance(p, Opaque) for p in parts):
            continue
        try:
            rendered = render_request(
                prompt, model="gemini-3-pro-preview", output_cap=None, output_tokens_default=10
            )
        except WireError as error:
            assert "no earlier tool call" in error.failure.message, exchange["id"]  # noqa: PT017
            continue
        again = parse_request(rendered.body, ASKED)
        for member in ("messages", "tools", "tool_choice", "sampling", "output_tokens_max"):
            wanted, got = getattr(prompt, member), getattr(again, member)
            if member == "messages":
                wanted = [(m.role, [p for p in m.parts if not is_lost(p)]) for m in wanted]
                got = [(m.role, list(m.parts)) for m in got]
                wanted, got = flat(wanted), flat(got)
            assert got == wanted, (exchange["id"], member)
        count += 1
    assert count >= 250


def is_lost(part: Any) -> bool:
    return isinstance(part, Opaque) or (
        getattr(part, "text", None) is not None
        and type(part).__name__ == "Reasoning"
        and part.signature is None
    )


def flat(messages: list[tuple[str, list[Any]]]) -> list[Any]:
    return [(role, part) for role, parts in messages for part in parts]


def test_every_answer_survives_a_stream(recordings: list[dict[str, Any]]) -> None:
    """Events rendered as server-sent events or as an array read as the same events; the SDK's types take all."""
    count = 0
    for name, prompt, events in answers(recordings):
        for is_array in (False, True):
            asked = Asked("m", is_stream=True, is_array=is_array)
            renderer = CLIENTS["gemini"].open_renderer(msgspec.structs.replace(prompt, asked=asked))
            if any(isinstance(event, Finish) and event.reason == "error" for event in events):
                continue
            stream = b"".join(renderer.render(event) for event in events)
            if is_array:
                chunks = json.loads(stream)
                again = EventParser().read_answer(stream)
            else:
                chunks = [json.loads(one[6:]) for one in stream.split(b"\r\n\r\n") if one]
                parser = EventParser()
                again = parser.feed(stream) + parser.finish()
            for chunk in chunks:
                types.GenerateContentResponse.model_validate(chunk)
            assert said(again) == said(events), name
            assert not renderer.dropped
            count += 1
    assert count >= 600


def test_every_answer_survives_a_fold(recordings: list[dict[str, Any]]) -> None:
    """The same of the plain answer."""
    count = 0
    for name, prompt, events in answers(recordings):
        if any(isinstance(event, Finish) and event.reason == "error" for event in events):
            continue
        body, dropped = CLIENTS["gemini"].render_answer(prompt, events)
        types.GenerateContentResponse.model_validate_json(body)
        assert said(EventParser().read_answer(body)) == said(events), name
        assert not dropped
        count += 1
    assert count >= 300


def test_every_answer_passes_as_it_came(recordings: list[dict[str, Any]]) -> None:
    """Streams and plain answers are byte-equal for their own format, or the same chunks in an array."""
    for exchange in recordings:
        response = exchange["response"]
        if response["status"] != 200:
            continue
        prompt = prompt_of(exchange)
        if isinstance(response["body"], str):
            stream = response["body"].encode()
            relay = open_pass_relay(prompt)
            out = b"".join(relay.feed(stream[at : at + 501]) for at in range(0, len(stream), 501))
            assert out + relay.finish() == stream
            assert relay.outcome.is_complete
            asked = Asked("m", is_stream=True, is_array=True)
            relay = open_pass_relay(msgspec.structs.replace(prompt, asked=asked))
            out = b"".join(relay.feed(stream[at : at + 501]) for at in range(0, len(stream), 501))
            assert json.loads(out + relay.finish()) == chunks_of(exchange)
        else:
            body = json.dumps(response["body"]).encode()
            assert pass_answer(body).body == body


def test_every_request_passes_as_it_came(recordings: list[dict[str, Any]]) -> None:
    """Without terms nothing changes; with a cap nothing but the cap does."""
    passed = 0
    for exchange in recordings:
        prompt = prompt_of(exchange)
        if "fileUri" in (text := prompt.raw.decode()) or "file_uri" in text:
            continue  # Media by address have rules of their own.
        passed += 1
        body, dropped = patch_request(
            prompt, model="gemini-x", output_cap=None, allows_provider_tools=True
        )
        assert (body, dropped) == (prompt.raw, ()) or prompt.provider_tools
        body, _ = patch_request(prompt, model="gemini-x", output_cap=1, allows_provider_tools=False)
        again = parse_request(body, ASKED)
        assert again.output_tokens_max == 1
        assert again.messages == prompt.messages
        assert again.tools == prompt.tools
        assert not again.provider_tools
        gone = {"toolConfig.includeServerSideToolInvocations"} if prompt.provider_tools else set()
        assert again.unknown.keys() == prompt.unknown.keys() - gone
    assert passed > 300


def test_every_count_request_is_understood(shared: Path) -> None:
    """What the SDKs send to ``countTokens``, in both of its forms."""
    count = 0
    for name in FILES:
        for line in gzip.decompress((shared / "exchanges" / name).read_bytes()).splitlines():
            exchange = json.loads(line)
            if exchange["api"] == "count_tokens":
                raw = json.dumps(exchange["request"]["body"]).encode()
                asked = Asked("m") if b'"model"' not in raw else Asked()
                assert parse_count_request(raw, asked).messages
                count += 1
    assert count == 7
