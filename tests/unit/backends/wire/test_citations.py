"""Sources on the web keep their address, title and place from one format to another."""

import json
from typing import Any

import msgspec
import pytest
from google.genai import types as google
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from backends.wire import anthropic_messages, gemini, openai_chat, openai_responses
from backends.wire.clients import CLIENTS
from backends.wire.events import (
    CallStart,
    Citation,
    End,
    Event,
    Finish,
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.openai_chat.citations import read_annotations
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.targets import TARGETS

CARRIERS: tuple[WireFormat, ...] = ("openai-chat", "openai-responses", "gemini")
TEXT = "Ein Käse. Two."
CHEESE = Citation("https://a.example/k", "Käse", 4, 8)
SOMEWHERE = Citation("https://b.example/2", "Two")


def asker(format: WireFormat) -> Prompt:
    """Somebody who streams."""
    return Prompt(format, b"{}", "m", (), is_stream=True, wants_usage=True, asked=Asked("m"))


def answer_of(text: str, citations: list[Citation]) -> list[Event]:
    """An answer in two pieces that rests on these."""
    half = len(text) // 2
    pieces = [TextDelta(piece) for piece in (text[:half], text[half:]) if piece]
    return [Start("r", "m", 1), *pieces, *citations, Finish("stop", "stop"), End(None)]


def render(format: WireFormat, events: list[Event], *, is_stream: bool) -> tuple[bytes, list[str]]:
    """What a client gets, and the names of what it does not."""
    if not is_stream:
        body, dropped = CLIENTS[format].render_answer(asker(format), events)
        return body, list(dropped)
    renderer = CLIENTS[format].open_renderer(asker(format))
    return b"".join(renderer.render(event) for event in events), list(renderer.dropped)


def read(format: WireFormat, raw: bytes, *, is_stream: bool) -> list[Citation]:
    """The citations in an answer of a format."""
    parser = TARGETS[format].open_parser()
    events = parser.feed(raw) + parser.finish() if is_stream else parser.read_answer(raw)
    return [event for event in events if isinstance(event, Citation)]


@st.composite
def cited(draw: st.DrawFn) -> tuple[str, list[Citation]]:
    """A text, and sources of pieces of it or of some of it."""
    text = draw(st.text(min_size=1, max_size=8))
    found: list[Citation] = []
    for number in range(draw(st.integers(0, 3))):
        place: tuple[int | None, int | None] = (None, None)
        if draw(st.booleans()):
            start = draw(st.integers(0, len(text) - 1))
            place = (start, draw(st.integers(start + 1, len(text))))
        found.append(Citation(f"https://x.example/{number}", draw(st.text(max_size=3)), *place))
    return text, found


@pytest.mark.parametrize("format", CARRIERS)
@pytest.mark.parametrize("is_stream", [False, True])
@given(said=cited())
def test_citations_come_out_as_they_went_in(
    format: WireFormat, is_stream: bool, said: tuple[str, list[Citation]]
) -> None:
    """Whatever alphabet the text is in: Google counts bytes, the others characters."""
    text, citations = said
    raw, dropped = render(format, answer_of(text, citations), is_stream=is_stream)
    found = read(format, raw, is_stream=is_stream)
    assert sorted(found, key=lambda one: one.url) == citations
    assert not dropped


@pytest.mark.parametrize("is_stream", [False, True])
def test_messages_have_no_place_for_them(is_stream: bool) -> None:
    """There a source belongs to Anthropic's own search: left out and listed."""
    events = answer_of(TEXT, [CHEESE])
    raw, dropped = render("anthropic-messages", events, is_stream=is_stream)
    assert b"a.example" not in raw
    assert dropped == ["citations"]


def test_sdks_read_them() -> None:
    """Each provider's own types have the source where they look for it."""
    events = answer_of(TEXT, [CHEESE, SOMEWHERE])
    body, _ = render("openai-chat", events, is_stream=False)
    annotations = ChatCompletion.model_validate_json(body).choices[0].message.annotations
    assert annotations is not None
    first = annotations[0].url_citation
    assert TEXT[first.start_index : first.end_index] == "Käse"
    body, _ = render("openai-responses", events, is_stream=False)
    part: Any = Response.model_validate_json(body).output[0]
    assert [one.url for one in part.content[0].annotations] == [CHEESE.url, SOMEWHERE.url]
    body, _ = render("gemini", events, is_stream=False)
    answer = google.GenerateContentResponse.model_validate_json(body)
    assert answer.candidates is not None
    grounding = answer.candidates[0].grounding_metadata
    assert grounding is not None
    assert grounding.grounding_supports is not None
    segment = grounding.grounding_supports[0].segment
    assert segment is not None
    assert segment.text == "Käse"
    assert TEXT.encode()[segment.start_index : segment.end_index] == "Käse".encode()


def test_openais_sdk_puts_a_stream_together() -> None:
    """It joins no lists of annotations: they come in one piece, before the finish."""
    state = ChatCompletionStreamState()
    raw, _ = render("openai-chat", answer_of(TEXT, [CHEESE, SOMEWHERE]), is_stream=True)
    for one in raw.split(b"\n\n")[:-2]:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(one.removeprefix(b"data: ")))
    annotations = state.get_final_completion().choices[0].message.annotations
    assert annotations is not None
    assert len(annotations) == 2


def test_places_in_responses_count_from_their_part() -> None:
    """The second text of an answer begins anew; a source of the first has no place in it."""
    events: list[Event] = [
        Start("r", "m", 1), TextDelta("one "), RefusalDelta("no"), TextDelta("two three"),
        Citation("https://x.example/", "", 8, 13), Citation("https://y.example/", "", 0, 3),
        Finish("stop", "stop"), End(None),
    ]  # fmt: skip
    body = json.loads(render("openai-responses", events, is_stream=False)[0])
    part = body["output"][0]["content"][2]
    first, second = part["annotations"]
    assert part["text"][first["start_index"] : first["end_index"]] == "three"
    assert (second["start_index"], second["end_index"]) == (0, 0)
    stream, _ = render("openai-responses", events, is_stream=True)
    assert [one.start for one in read("openai-responses", stream, is_stream=True)] == [None, None]


def test_a_source_behind_its_text_is_listed() -> None:
    """A response's text is done once a call began."""
    events = answer_of(TEXT, [])
    events[-2:-2] = [CallStart(0, "c", "f"), CHEESE]
    assert render("openai-responses", events, is_stream=True)[1] == ["annotations"]


def test_a_source_may_come_before_its_text() -> None:
    """As Claude's do, in streams."""
    events = answer_of(TEXT, [])
    events[1:1] = [SOMEWHERE]
    for is_stream in (False, True):
        raw, dropped = render("openai-responses", events, is_stream=is_stream)
        assert read("openai-responses", raw, is_stream=is_stream) == [SOMEWHERE]
        assert not dropped


def test_what_every_chunk_repeats_comes_once() -> None:
    """Google's metadata may grow from chunk to chunk."""
    web = {"web": {"uri": "https://a.example/", "title": "A"}}
    chunks = [
        {"candidates": [{"content": {"parts": [{"text": text}]}, "groundingMetadata": {"groundingChunks": [web]}, **end}]}
        for text, end in (("one ", {}), ("two", {"finishReason": "STOP"}))
    ]  # fmt: skip
    raw = b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in chunks)
    assert read("gemini", raw, is_stream=True) == [Citation("https://a.example/", "A")]


def test_places_are_bounded() -> None:
    """Each needs a look at the text: beyond a thousand a source has no place, and still its address."""
    text = "x" * 2000
    citations = [Citation(f"https://x.example/{at}", "", at, at + 1) for at in range(1500)]
    raw, _ = render("gemini", answer_of(text, citations), is_stream=False)
    found = read("gemini", raw, is_stream=False)
    assert len(found) == 1500
    assert sum(one.start is not None for one in found) == 1024


def test_claudes_search_is_a_source() -> None:
    """What it found on the web; places in the prompt's documents are listed."""
    found = {
        "type": "web_search_result_location",
        "url": "https://a.example/",
        "title": "A",
        "encrypted_index": "x",
    }
    page = {"type": "page_location", "document_index": 0, "cited_text": "b"}
    block = {"type": "text", "text": "hi", "citations": [found, page]}
    body = {"id": "m", "model": "c", "content": [block], "stop_reason": "end_turn"}
    parser = anthropic_messages.EventParser()
    events = parser.read_answer(json.dumps(body).encode())
    assert [one for one in events if isinstance(one, Citation)] == [
        Citation("https://a.example/", "A")
    ]
    assert parser.dropped == {"citations": None}


def test_perplexitys_sources_come_once() -> None:
    """It repeats them with every piece; the newer list has titles, the older one addresses only."""
    sources = {
        "search_results": [{"title": "A", "url": "https://a.example/", "snippet": "s"}],
        "citations": ["https://a.example/"],
    }

    def piece(**choice: Any) -> bytes:
        body = {"id": "c", "model": "m", "choices": [{"index": 0, **choice}], **sources}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    raw = piece(delta={"content": "hi"}) + piece(delta={"content": "!"}, finish_reason="stop")
    found = read("openai-chat", raw, is_stream=True)
    assert found == [Citation("https://a.example/", "A")]
    del sources["search_results"]
    raw = piece(delta={"content": "hi"}, finish_reason="stop")
    assert read("openai-chat", raw, is_stream=True) == [Citation("https://a.example/")]


def test_what_is_no_address_on_the_web_is_named() -> None:
    """A file that one provider keeps, a place on a map, words of unknown origin."""
    part = {
        "type": "output_text",
        "text": "hi",
        "annotations": [{"type": "file_citation", "file_id": "f"}],
    }
    responses = openai_responses.EventParser()
    responses.read_answer(json.dumps({"output": [{"type": "message", "content": [part]}]}).encode())
    assert responses.dropped == {"annotations": None}
    candidate = {
        "content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP",
        "groundingMetadata": {"groundingChunks": [{"maps": {"uri": "x"}}], "searchEntryPoint": {"renderedContent": "<p>"}},
        "citationMetadata": {"citationSources": [{"startIndex": 0, "endIndex": 1}, {"uri": "https://a.example/"}]},
    }  # fmt: skip
    google_parser = gemini.EventParser()
    events = google_parser.read_answer(json.dumps({"candidates": [candidate]}).encode())
    assert [one.url for one in events if isinstance(one, Citation)] == ["https://a.example/"]
    assert set(google_parser.dropped) == {
        "groundingMetadata.searchEntryPoint", "groundingMetadata.groundingChunks", "citationMetadata",
    }  # fmt: skip


def test_a_place_beyond_any_text_is_none() -> None:
    """A number that no JSON of ours could hold is not given on."""
    source = {"url": "https://a.b", "title": "t", "start_index": 0, "end_index": 2**70}
    raw = msgspec.Raw(json.dumps([{"type": "url_citation", "url_citation": source}]).encode())
    [citation] = read_annotations(raw, {})
    assert citation == Citation("https://a.b", "t")


def test_an_answer_without_sources_comes_back_without_a_loss() -> None:
    """OpenAI's SDK sends the empty list that the answer had; one that names sources is not understood."""
    said: dict[str, Any] = {"role": "assistant", "content": "a", "annotations": []}
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "q"}, said]}
    assert not openai_chat.parse_request(json.dumps(body).encode()).unknown
    said["annotations"] = [{"type": "url_citation"}]
    unknown = openai_chat.parse_request(json.dumps(body).encode()).unknown
    assert unknown.keys() == {"messages[1].annotations"}


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=3) | st.sampled_from(["url_citation"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["type", "url", "url_citation", "start_index", "end_index", "web", "uri", "segment", "startIndex",
                         "endIndex", "groundingChunks", "groundingSupports", "groundingChunkIndices", "citations"]),
        inner, max_size=4,
    ),
    max_leaves=10,
))  # fmt: skip
def test_whatever_a_host_sends_breaks_nothing(junk: object) -> None:
    """It is read or named; the answer comes whole."""
    chat = {"message": {"content": "hi", "annotations": junk}, "finish_reason": "stop"}
    body = {"choices": [chat], "citations": junk, "search_results": junk}
    events = openai_chat.EventParser().read_answer(json.dumps(body).encode())
    assert isinstance(events[-1], End)
    candidate = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP", "groundingMetadata": junk,
                 "citationMetadata": junk, "logprobsResult": junk}  # fmt: skip
    events = gemini.EventParser().read_answer(json.dumps({"candidates": [candidate]}).encode())
    assert isinstance(events[-1], End)
    block = {"type": "text", "text": "hi", "citations": junk}
    claude = {"content": [block], "stop_reason": "end_turn"}
    events = anthropic_messages.EventParser().read_answer(json.dumps(claude).encode())
    assert isinstance(events[-1], End)
