"""The cases of the Open Responses compliance suite, with checks of our own, against each kind of target.

The suite (openresponses/openresponses, 2026-07) asks for a basic answer, a stream, a system prompt, tools plain and
streamed, an image and several turns; here its schemas are replaced by what the specification says of items, their
states and the order of events.
"""

import base64
import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.clients.providers import (
    ARGUMENTS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    TARGETS,
    TEXT,
    THINKING_TOKENS,
    Json,
    Providers,
    running_providers,
)

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
        "0000000049454e44ae426082"
    )
).decode()
PIRATE = "You are a pirate. Always say so."
TURNS = (
    ("user", "My name is Alice."),
    ("assistant", "Hello Alice, how can I help?"),
    ("user", "What is my name?"),
)
TOOL: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}},
                   "required": ["location"]},
}  # fmt: skip
REPEATED = (
    "background", "completed_at", "error", "frequency_penalty", "incomplete_details", "instructions",
    "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "presence_penalty",
    "previous_response_id", "prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store",
    "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation",
)  # fmt: skip
"""Members that a response has, whatever they say."""
FORMS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "message": ("msg_", ("id", "type", "status", "role", "content"), "content"),
    "function_call": ("fc_", ("id", "type", "status", "call_id", "name", "arguments"), "arguments"),
    "reasoning": ("rs_", ("id", "type", "summary"), "summary"),
}
"""Kind of item → how its id begins, its members, and which of them grows."""


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Providers]:
    """One gateway before all kinds of targets."""
    with running_providers(tmp_path_factory.mktemp("providers")) as running:
        yield running


@pytest.fixture(params=list(TARGETS))
def target(request: pytest.FixtureRequest) -> str:
    """Each kind of target."""
    return str(request.param)


def message(role: str, content: object) -> Json:
    return {"type": "message", "role": role, "content": content}


def ask(providers: Providers, target: str, *items: Json, **more: Any) -> Any:
    """The answer to one request."""
    body = {"model": TARGETS[target], "input": list(items), **more}
    sent = {"authorization": f"Bearer {providers.gateway.key}"}
    answer = providers.gateway.client.post("/v1/responses", json=body, headers=sent)
    assert answer.status_code == 200, answer.text
    return answer


def plain(providers: Providers, target: str, *items: Json, **more: Any) -> Json:
    """A whole response, which is as it should be."""
    response: Json = ask(providers, target, *items, **more).json()
    check_whole(response)
    return response


def streamed(providers: Providers, target: str, *items: Json, **more: Any) -> list[Json]:
    """The events of a stream, which are as they should be."""
    answer = ask(providers, target, *items, stream=True, **more)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    pairs = [[line.partition(": ")[2] for line in block.split("\n")] for block in blocks]
    events = [json.loads(data) for _, data in pairs]
    assert [event["type"] for event in events] == [name for name, _ in pairs]
    check_stream(events)
    return events


def check_whole(response: Json) -> None:
    """A response that is complete, in all of its members."""
    assert response["object"] == "response"
    assert response["id"].startswith("resp_")
    assert (response["status"], response["error"], response["incomplete_details"]) == (
        "completed", None, None,
    )  # fmt: skip
    assert [name for name in REPEATED if name not in response] == []
    assert isinstance(response["created_at"], int)
    usage = response["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert usage["total_tokens"] == INPUT_TOKENS + OUTPUT_TOKENS
    assert usage["output_tokens_details"]["reasoning_tokens"] == THINKING_TOKENS
    assert usage["input_tokens_details"]["cached_tokens"] == 0
    ids = [item["id"] for item in response["output"]]
    assert len(ids) == len(set(ids)) > 0
    for item in response["output"]:
        check_item(item, "completed")


def check_item(item: Json, status: str) -> None:
    """An item of a known kind: its id, its members, its state, its content."""
    prefix, members, _ = FORMS[item["type"]]
    assert item["id"].startswith(prefix)
    assert [name for name in members if name not in item] == []
    assert item.get("status", status) == status
    if item["type"] == "message":
        assert item["role"] == "assistant"
        for part in item["content"]:
            assert part["type"] == "output_text"
            assert (part["annotations"], part["logprobs"]) == ([], [])
    elif item["type"] == "function_call" and status == "completed":
        assert isinstance(json.loads(item["arguments"]), dict)
    elif item["type"] == "reasoning":
        assert {part["type"] for part in item["summary"]} <= {"summary_text"}


def check_stream(events: list[Json]) -> None:
    """Numbers, the frame, and for each item: added, grown, done, in this order and never again."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert (kinds[:2], kinds[-1]) == (["created", "in_progress"], "completed")
    assert kinds.count("created") == kinds.count("in_progress") == kinds.count("completed") == 1
    first, last = events[0]["response"], events[-1]["response"]
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)
    assert first["id"] == events[1]["response"]["id"] == last["id"]
    check_whole(last)
    done: list[Json] = []
    for at, item in enumerate(last["output"]):
        own = [event for event in events if event.get("output_index") == at]
        begun, *growing, ended = own
        assert begun["type"] == "response.output_item.added"
        assert ended["type"] == "response.output_item.done"
        assert begun["item"]["id"] == ended["item"]["id"] == item["id"]
        check_item(begun["item"], "in_progress")
        assert not begun["item"][FORMS[item["type"]][2]]
        assert {event["item_id"] for event in growing} <= {item["id"]}
        check_growth(growing, item)
        done.append(ended["item"])
    assert done == last["output"]
    assert len(done) == kinds.count("output_item.added") == kinds.count("output_item.done")


def check_growth(events: list[Json], item: Json) -> None:
    """What lies between the beginning and the end of an item says, piece by piece, what the item says."""
    kinds = [event["type"].removeprefix("response.") for event in events]
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    middle = len(deltas)
    if item["type"] == "function_call":
        name = "function_call_arguments"
        assert kinds == [f"{name}.delta"] * middle + [f"{name}.done"]
        assert "".join(deltas) == events[-1]["arguments"] == item["arguments"]
        assert events[-1]["name"] == item["name"]
        return
    part, text, place = ("content_part", "output_text", "content_index")
    if item["type"] == "reasoning":
        part, text, place = "reasoning_summary_part", "reasoning_summary_text", "summary_index"
    parts = item["content"] if item["type"] == "message" else item["summary"]
    if not parts:
        assert kinds == []
        return
    assert kinds == [f"{part}.added", *[f"{text}.delta"] * middle, f"{text}.done", f"{part}.done"]
    assert {event[place] for event in events} == {0}
    assert events[0]["part"] == {**parts[0], "text": ""}
    assert "".join(deltas) == events[-2]["text"] == parts[0]["text"]
    assert events[-1]["part"] == parts[0]


def said(response: Json) -> str:
    """The text of a response."""
    return "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )


def check_call(response: Json) -> None:
    """One call of the tool, with its arguments, and no text."""
    [call] = [item for item in response["output"] if item["type"] == "function_call"]
    assert call["name"] == "get_weather"
    assert json.loads(call["arguments"]) == json.loads("".join(ARGUMENTS))
    assert call["call_id"]
    assert said(response) == ""
    [tool] = response["tools"]
    assert tool == {"strict": True, **TOOL}


def test_basic_response(providers: Providers, target: str) -> None:
    """A message is answered by a message."""
    response = plain(providers, target, message("user", "Say hello in exactly 3 words."))
    assert said(response) == TEXT


def test_streaming_response(providers: Providers, target: str) -> None:
    """The same as a stream, in several pieces."""
    events = streamed(providers, target, message("user", "Count from 1 to 5."))
    assert said(events[-1]["response"]) == TEXT
    assert sum(event["type"] == "response.output_text.delta" for event in events) > 1


def test_system_prompt(providers: Providers, target: str) -> None:
    """A system message reaches the target where its format has it."""
    response = plain(providers, target, message("system", PIRATE), message("user", "Say hello."))
    assert said(response) == TEXT
    sent = providers.last()
    places = {
        "gpt": lambda: sent["input"][0],
        "claude": lambda: sent["system"],
        "gemini": lambda: sent["systemInstruction"],
        "sglang": lambda: sent["messages"][0],
    }
    assert PIRATE in json.dumps(places[target]())
    assert json.dumps(sent).count(PIRATE) == 1


def test_tool_calling(providers: Providers, target: str) -> None:
    """A tool is offered, and called."""
    check_call(plain(providers, target, message("user", "Weather in SF?"), tools=[TOOL]))


def test_tool_calling_streaming(providers: Providers, target: str) -> None:
    """The same as a stream."""
    events = streamed(providers, target, message("user", "Weather in SF?"), tools=[TOOL])
    check_call(events[-1]["response"])


def test_a_tools_result_goes_back(providers: Providers, target: str) -> None:
    """What was called goes back as it came, with its result, and is answered; the target gets its own id."""
    asked = message("user", "Weather in SF?")
    first = plain(providers, target, asked, tools=[TOOL])
    [call] = [item for item in first["output"] if item["type"] == "function_call"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "18 degrees"}
    plain(providers, target, asked, *first["output"], result, tools=[TOOL])
    assert "18 degrees" in json.dumps(providers.last())


def test_image_input(providers: Providers, target: str) -> None:
    """An image reaches the target, whole, once."""
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
    asked = message("user", [{"type": "input_text", "text": "What do you see?"}, picture])
    assert said(plain(providers, target, asked)) == TEXT
    assert json.dumps(providers.last()).count(PIXEL) == 1


def test_multi_turn(providers: Providers, target: str) -> None:
    """Earlier turns reach the target, in their order."""
    assert said(plain(providers, target, *(message(*turn) for turn in TURNS))) == TEXT
    sent = json.dumps(providers.last())
    places = [sent.index(text) for _, text in TURNS]
    assert places == sorted(places)


def test_phases_are_taken(providers: Providers, target: str) -> None:
    """The label that newer models put on what they said before is no error; who has no word for it does not get it."""
    before = {**message("assistant", "The number is four."), "phase": "final_answer"}
    answer = ask(providers, target, before, message("user", "Repeat the number."))
    assert said(answer.json()) == TEXT
    assert ("phase" in json.dumps(providers.last())) is (target == "gpt")
    assert ("phase" in answer.headers.get("x-moegate-dropped", "")) is (target != "gpt")
