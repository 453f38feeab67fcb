"""Every format at its own address: keys where the SDKs put them, errors in the client's words, accounts as ever."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gateway.admission import Limit
from gateway.identity import NewKey
from tests.gateway_process import RunningGateway, Scene
from tests.upstreams import Scripted, chat_answer, chat_stream, event, plain

HOME = "auto:private"
CARD = "my card is 4111 1111 1111 1111"


def messages(gateway: RunningGateway, body: dict[str, Any], **headers: str) -> httpx.Response:
    """One request as Anthropic's SDK sends it."""
    sent = {"x-api-key": gateway.key, "anthropic-version": "2023-06-01"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    said = {"model": HOME, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    return gateway.client.post("/v1/messages", json=said | body, headers=sent)


def generate(
    gateway: RunningGateway, body: dict[str, Any], model: str = HOME, verb: str = "generateContent"
) -> httpx.Response:
    """One request as Google's SDK sends it."""
    said = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    sent = {"x-goog-api-key": gateway.key}
    return gateway.client.post(f"/v1beta/models/{model}:{verb}", json=said | body, headers=sent)


def respond(gateway: RunningGateway, body: dict[str, Any]) -> httpx.Response:
    """One request as OpenAI's SDK sends it to Responses."""
    said = {"model": HOME, "input": "hi"} | body
    sent = {"authorization": f"Bearer {gateway.key}"}
    return gateway.client.post("/v1/responses", json=said, headers=sent)


def test_responses_to_a_worker_at_home(scene: Scene) -> None:
    """A Responses client is answered by a host of another format, plain and streamed, and booked."""
    scene.home.default = chat_answer("hello")
    answer = respond(scene.gateway, {"instructions": "Be brief."}).json()
    assert answer["output"][0]["content"][0]["text"] == "hello"
    assert (answer["object"], answer["status"]) == ("response", "completed")
    scene.home.default = chat_stream(("he", "llo"))
    streamed = respond(scene.gateway, {"stream": True}).text
    events = [line[7:] for line in streamed.splitlines() if line.startswith("event: ")]
    assert (events[0], events[-1]) == ("response.created", "response.completed")
    rows = scene.gateway.rows("requests")
    assert {(row["format"], row["state"]) for row in rows} == {("openai-responses", "answered")}


@pytest.mark.parametrize(
    "member",
    [
        {"previous_response_id": 7},
        {"conversation": "conv_1"},
        {"background": True},
        {"prompt": {"id": "pmpt_1"}},
        {"service_tier": "priority"},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]},
    ],
    ids=lambda member: next(iter(member)),
)
def test_what_is_kept_elsewhere_is_refused_in_responses(
    scene: Scene, member: dict[str, Any]
) -> None:
    """What the provider keeps is kept under one account for all tenants; dearer tiers have no price."""
    refused = respond(scene.gateway, member | {"model": "auto"})
    assert refused.status_code == 403, refused.text
    assert refused.headers["x-moegate-error"] == "policy_refused"
    assert scene.home.requests == scene.outside.requests == []


@pytest.mark.parametrize(
    "place", ["input", "instructions", "output", "arguments", "tool", "member"]
)
def test_a_private_prompt_stays_at_home_in_responses(scene: Scene, place: str) -> None:
    """Wherever a card number stands in a Responses body, it reaches the worker at home and nobody else."""
    scene.home.default = chat_answer("ok")
    user = {"role": "user", "content": "hi"}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
    bodies: dict[str, dict[str, Any]] = {
        "input": {"input": CARD},
        "instructions": {"instructions": CARD},
        "output": {"input": [user, call, output | {"output": CARD}]},
        "arguments": {"input": [user, call | {"arguments": json.dumps({"x": CARD})}, output]},
        "tool": {"tools": [{"type": "web_search", "odd": CARD}]},
        "member": {"odd": {"deep": [CARD]}},
    }
    answer = respond(scene.gateway, bodies[place] | {"model": "auto"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-moegate-target"].startswith("sglang/")
    refused = respond(scene.gateway, bodies[place] | {"model": "openai/gpt-5.4-nano"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_target")
    assert scene.outside.requests == []


def test_messages_to_a_worker_at_home(scene: Scene) -> None:
    """A Messages client is answered by a host of another format, and the call is booked."""
    scene.home.default = chat_answer("hello")
    answer = messages(scene.gateway, {"system": "Be brief.", "stop_sequences": ["END"]})
    body = answer.json()
    assert answer.status_code == 200
    assert body["content"] == [{"type": "text", "text": "hello"}]
    assert (body["type"], body["stop_reason"]) == ("message", "end_turn")
    sent: Any = scene.home.requests[-1].json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (sent["stop"], sent["max_tokens"]) == (["END"], 50)
    row = scene.gateway.rows("requests")[-1]
    assert (row["format"], row["state"]) == ("anthropic-messages", "answered")
    usage = body["usage"]
    attempt = scene.gateway.rows("attempts")[-1]
    assert attempt["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"]
    assert attempt["output_tokens"] == usage["output_tokens"]


def test_openais_thinking_goes_on_for_a_messages_client(scene: Scene) -> None:
    """Asked for in Responses, encrypted there and back; a worker at home in between gets none of it."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    scene.outside.default = plain(
        {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5.4-nano",
         "created_at": 1, "output": [thought, call], "usage": usage}
    )  # fmt: skip
    asked: dict[str, Any] = {
        "model": "openai/gpt-5.4-nano", "max_tokens": 500, "thinking": {"type": "adaptive"},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    }  # fmt: skip
    said = messages(scene.gateway, asked).json()
    assert [block["type"] for block in said["content"]] == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "ok"}
    asked["messages"] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": said["content"]},
        {"role": "user", "content": [result]},
    ]
    scene.home.default = chat_answer("hello")
    elsewhere = messages(scene.gateway, asked | {"model": HOME})
    assert elsewhere.headers["x-moegate-dropped"] == "messages[].content.thinking"
    assert b"gAAAA" not in scene.home.requests[-1].body
    assert messages(scene.gateway, asked).status_code == 200
    assert scene.outside.requests[-1].path == "/v1/responses"
    again: Any = scene.outside.requests[-1].json
    assert again["input"][1:3] == [thought, call]
    assert again["store"] is False
    attempt = scene.gateway.rows("attempts")[-1]
    assert (attempt["input_tokens"], attempt["output_tokens"]) == (7, 5)


def test_a_chat_client_brings_no_host_anothers_signature(scene: Scene) -> None:
    """What it keeps for Claude in a chat is taken out on the way to everybody else, and listed."""
    scene.home.default = chat_answer("hello")
    detail = {"type": "reasoning.text", "text": "hm", "signature": "mg1.anthropic.c2ln"}
    said = {"role": "assistant", "content": "a", "reasoning_details": [detail]}
    asked = [{"role": "user", "content": "hi"}, said, {"role": "user", "content": "go on"}]
    answer = scene.gateway.chat({"model": HOME, "messages": asked})
    assert answer.status_code == 200
    assert answer.headers["x-moegate-dropped"] == "messages[].reasoning_content"
    sent: Any = scene.home.requests[-1].json
    assert sent["messages"][1] == {"role": "assistant", "content": "a"}


def test_messages_streamed_from_a_worker_at_home(scene: Scene) -> None:
    """Events in Anthropic's order, to the end."""
    scene.home.default = chat_stream(("he", "llo"))
    answer = messages(scene.gateway, {"stream": True})
    events = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events == [
        "message_start", "ping", "content_block_start", "content_block_delta",
        "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip


def test_generate_content_from_a_worker_at_home(scene: Scene) -> None:
    """A Gemini client likewise, plain, as events, and as one array."""
    scene.home.default = chat_answer("hello")
    body = generate(scene.gateway, {}).json()
    assert body["candidates"][0]["content"]["parts"] == [{"text": "hello"}]
    assert body["candidates"][0]["finishReason"] == "STOP"
    scene.home.default = chat_stream(("he", "llo"))
    streamed = generate(scene.gateway, {}, verb="streamGenerateContent?alt=sse")
    assert streamed.headers["content-type"].startswith("text/event-stream")
    lines = [json.loads(line[6:]) for line in streamed.text.splitlines() if line]
    array = generate(scene.gateway, {}, verb="streamGenerateContent")
    assert array.headers["content-type"].startswith("application/json")
    for chunks in (lines, array.json()):
        parts = [p for c in chunks for p in c["candidates"][0].get("content", {}).get("parts", ())]
        assert "".join(part["text"] for part in parts) == "hello"
        assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("way", ["bearer", "x-api-key", "x-goog-api-key", "query"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1beta/models/auto:private:generateContent"])
def test_the_key_may_stand_wherever_an_sdk_puts_it(scene: Scene, way: str, path: str) -> None:
    """Each place is taken; a wrong key at the same place is not."""
    scene.home.default = chat_answer("hello")
    body: dict[str, Any] = {"contents": [{"parts": [{"text": "hi"}]}]}
    if path == "/v1/messages":
        body = {"model": HOME, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    for key, status in ((scene.gateway.key, 200), ("mg-wrong", 401)):
        headers = {} if way == "query" else {way: key}
        if way == "bearer":
            headers = {"authorization": f"Bearer {key}"}
        query = {"key": key} if way == "query" else {}
        answer = scene.gateway.client.post(path, json=body, headers=headers, params=query)
        assert answer.status_code == status


def test_errors_are_in_the_clients_words(scene: Scene) -> None:
    """Type, status and place, as each format's clients look for them, with the kind in the same header."""
    bad = messages(scene.gateway, {"messages": [{"role": "robot", "content": "x"}]})
    assert (bad.status_code, bad.json()["type"]) == (400, "error")
    assert bad.json()["error"]["type"] == "invalid_request_error"
    assert "messages[0].role" in bad.json()["error"]["message"]
    assert bad.headers["x-moegate-error"] == "invalid_request"
    unknown = messages(scene.gateway, {"model": "nobody"})
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    wrong = generate(scene.gateway, {"contents": []})
    assert (wrong.status_code, wrong.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    missing = generate(scene.gateway, {}, model="nobody")
    assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")
    assert missing.json()["error"]["details"][0]["reason"] == "MODEL_NOT_FOUND"
    client = scene.gateway.client
    assert client.get("/v1/messages").json()["error"]["type"] == "invalid_request_error"
    assert client.get("/v1beta/nothing").json()["error"]["status"] == "NOT_FOUND"


def test_a_budget_holds_in_every_format(scene: Scene) -> None:
    """An empty budget refuses in the format's own way; nothing is sent."""
    key = scene.gateway.make_key(NewKey("poor", limit=Limit("", "month", 1)))
    poor = {"x-api-key": key}
    said = {"model": "openai/gpt-5.4-nano", "max_tokens": 5}
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    refused = scene.gateway.client.post("/v1/messages", json=said | asked, headers=poor)
    assert (refused.status_code, refused.json()["error"]["type"]) == (402, "billing_error")
    assert refused.headers["x-should-retry"] == "false"
    path = "/v1beta/models/openai/gpt-5.4-nano:generateContent"
    contents = {"contents": [{"parts": [{"text": "hi"}]}]}
    refused = scene.gateway.client.post(path, json=contents, headers=poor)
    assert (refused.status_code, refused.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert scene.outside.requests == []


def test_what_is_left_of_a_rate_is_in_the_clients_headers(scene: Scene) -> None:
    """Limit, rest and reset where OpenAI's and Anthropic's clients look, also in the refusal; Google has none."""
    scene.home.default = chat_answer("hello")
    key = scene.gateway.make_key(NewKey("busy", requests_per_minute=600))
    sent = {"x-api-key": key}
    asked = {"model": HOME, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    post = scene.gateway.client.post
    chat = post("/v1/chat/completions", json=asked, headers=sent).headers
    said = post("/v1/messages", json=asked, headers=sent).headers
    assert chat["x-ratelimit-limit-requests"] == said["anthropic-ratelimit-requests-limit"] == "600"
    lefts = (chat["x-ratelimit-remaining-requests"], said["anthropic-ratelimit-requests-remaining"])
    assert lefts in (("599", "598"), ("599", "599"))  # The minute may have ended in between.
    assert 1 <= int(chat["x-ratelimit-reset-requests"].removesuffix("s")) <= 60
    until = datetime.fromisoformat(said["anthropic-ratelimit-requests-reset"])
    assert -1 <= (until - datetime.now(UTC)).total_seconds() <= 60
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    none = post(f"/v1beta/models/{HOME}:generateContent", json=body, headers=sent).headers
    assert not [name for name in none if "ratelimit" in name]
    assert not [name for name in respond(scene.gateway, {}).headers if "ratelimit" in name]
    slow = {"x-api-key": scene.gateway.make_key(NewKey("slow", requests_per_minute=0))}
    refused = post("/v1/chat/completions", json=asked, headers=slow)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize(
    "place",
    [
        "text",
        "system",
        "tool result",
        "tool arguments",
        "unknown member",
        "provider tool",
        "user id",
    ],
)
def test_a_private_prompt_stays_at_home_in_messages(scene: Scene, place: str) -> None:
    """Wherever a card number stands in a Messages body, it reaches the worker at home and nobody else."""
    scene.home.default = chat_answer("ok")
    user = {"role": "user", "content": "hi"}
    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": CARD}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": CARD}],
    }
    tool = {"name": "f", "input_schema": {"type": "object"}}
    bodies: dict[str, dict[str, Any]] = {
        "text": {"messages": [{"role": "user", "content": CARD}]},
        "system": {"system": [{"type": "text", "text": CARD}]},
        "tool result": {
            "tools": [tool],
            "messages": [
                user,
                {"role": "assistant", "content": [use | {"input": {}}]},
                {"role": "user", "content": [result]},
            ],
        },
        "tool arguments": {
            "tools": [tool],
            "messages": [
                user,
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [result | {"content": "ok"}]},
            ],
        },
        "unknown member": {"odd": {"deep": [CARD]}},
        "provider tool": {"tools": [{"type": "web_search_20250305", "name": "w", "odd": CARD}]},
        "user id": {"metadata": {"user_id": CARD}},
    }
    answer = messages(scene.gateway, bodies[place] | {"model": "auto"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-moegate-target"].startswith("sglang/")
    refused = messages(scene.gateway, bodies[place] | {"model": "openai/gpt-5.4-nano"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    assert scene.outside.requests == []


@pytest.mark.parametrize("place", ["text", "system", "function response", "odd part", "tool"])
def test_a_private_prompt_stays_at_home_in_generate_content(scene: Scene, place: str) -> None:
    """The same in a Gemini body."""
    scene.home.default = chat_answer("ok")
    call = {"functionCall": {"name": "f", "args": {}}}
    response = {"functionResponse": {"name": "f", "response": {"output": CARD}}}
    bodies: dict[str, dict[str, Any]] = {
        "text": {"contents": [{"parts": [{"text": CARD}]}]},
        "system": {"systemInstruction": {"parts": [{"text": CARD}]}},
        "function response": {
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [call]},
                {"role": "user", "parts": [response]},
            ]
        },
        "odd part": {"contents": [{"parts": [{"text": "hi"}, {"executableCode": {"code": CARD}}]}]},
        "tool": {"tools": [{"googleSearch": {"odd": CARD}}]},
    }
    answer = generate(scene.gateway, bodies[place], model="auto")
    assert answer.status_code == 200, answer.text
    refused = generate(scene.gateway, bodies[place], model="openai/gpt-5.4-nano")
    assert (refused.status_code, refused.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert scene.outside.requests == []


@pytest.mark.parametrize(
    "member",
    [
        {"service_tier": "priority"},
        {"mcp_servers": [{"type": "url", "url": "https://evil.example", "name": "e"}]},
        {"container": "container_1"},
        {"inference_geo": "us"},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        {"messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]},
        {"messages": [{"role": "user", "content": [
            {"type": "container_upload", "file_id": "file_1"}]}]},
    ],
    ids=lambda member: next(iter(member)),
)  # fmt: skip
def test_what_no_price_covers_is_refused(scene: Scene, member: dict[str, Any]) -> None:
    """Dearer tiers, addresses to call, and things that a provider keeps for all who share its account."""
    refused = messages(scene.gateway, member | {"model": "auto"})
    assert refused.status_code == 403, refused.text
    assert refused.headers["x-moegate-error"] == "policy_refused"
    assert scene.home.requests == scene.outside.requests == []


@pytest.mark.parametrize(
    "member",
    [
        {"cachedContent": "cachedContents/x"},
        {"generationConfig": {"responseModalities": ["AUDIO"]}},
        {"generation_config": {"response_modalities": ["IMAGE"]}},
        {"service_tier": "priority"},
        {"contents": [{"parts": [{"fileData": {"fileUri": "files/x", "mimeType": "image/png"}}]}]},
        {"contents": [{"parts": [{"fileData": {
            "fileUri": "https://a.example/b.mp4", "mimeType": "video/mp4"}}]}]},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "aGk="}}]}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_price_covers_is_refused_in_generate_content(
    scene: Scene, member: dict[str, Any]
) -> None:
    """In either spelling of a name: kept caches and files, other tiers, audio and pictures, video."""
    refused = generate(scene.gateway, member, model="auto")
    assert refused.status_code == 403, refused.text
    assert refused.headers["x-moegate-error"] == "policy_refused"
    assert scene.home.requests == scene.outside.requests == []


def test_a_cut_stream_ends_in_the_formats_error(scene: Scene) -> None:
    """No invented stop: an error event, and nothing after it."""
    half = event({"id": "c", "choices": [{"index": 0, "delta": {"content": "he"}}]})
    scene.home.default = Scripted(chunks=(half,))
    said = messages(scene.gateway, {"stream": True}).text
    assert said.rstrip().splitlines()[-2] == "event: error"
    assert "message_stop" not in said
    assert 'stop_reason":"' not in said
    streamed = generate(scene.gateway, {}, verb="streamGenerateContent?alt=sse").text
    last = json.loads(streamed.strip().splitlines()[-1])
    assert last["error"]["status"] == "UNAVAILABLE"
    assert "finishReason" not in streamed


def test_anthropics_sdk_finds_the_requests_id(scene: Scene) -> None:
    """Anthropic's SDK reads `request-id`, of answers, streams and errors, before and after the decision."""
    scene.home.default = chat_answer()
    answers = [messages(scene.gateway, {}), messages(scene.gateway, {"max_tokens": 0})]
    answers.append(messages(scene.gateway, {"model": "nobody"}))
    scene.home.default = chat_stream()
    answers.append(messages(scene.gateway, {"stream": True}))
    for answer in answers:
        assert answer.headers["request-id"] == answer.headers["x-moegate-request-id"]
    assert "request-id" not in generate(scene.gateway, {}).headers


def test_a_conversation_that_anthropic_would_hold_is_refused(scene: Scene) -> None:
    """No part of a prompt stays out of sight: the refusal is the one that Anthropic's SDKs go on from."""
    for thread in ({"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}):
        refused = messages(scene.gateway, {"thread": thread, "messages": []})
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["details"] == {"error_code": "thread_unsupported_request"}
    assert messages(scene.gateway, {"thread": None}).status_code == 200
    assert scene.outside.requests == []


@pytest.mark.parametrize(
    "member", [{"fallbacks": [{"model": "claude-opus-5-5"}]}, {"compaction": {"type": "auto"}}]
)
def test_no_member_of_messages_asks_for_another_model(scene: Scene, member: dict[str, Any]) -> None:
    """What answers in the place of the target that was decided on, or of the answer, is refused; empty, it is not."""
    assert messages(scene.gateway, member).status_code == 403
    assert messages(scene.gateway, dict.fromkeys(member)).status_code == 200


def test_models_in_three_forms(scene: Scene) -> None:
    """The same names, as each SDK lists them."""
    client, key = scene.gateway.client, scene.gateway.key
    ours = client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).json()["data"]
    names = {one["id"] for one in ours}
    answering = {one["id"] for one in ours if one.get("type") != "embedding"}
    assert answering < names
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    theirs = client.get("/v1/models", headers=headers).json()
    assert {one["id"] for one in theirs["data"]} == answering
    assert theirs["has_more"] is False
    google = client.get("/v1beta/models", headers={"x-goog-api-key": key}).json()["models"]
    assert {one["name"] for one in google} == {f"models/{name}" for name in names}
    one = client.get("/v1beta/models/auto", headers={"x-goog-api-key": key}).json()
    assert one["name"] == "models/auto"
    missing = client.get("/v1beta/models/nobody", headers={"x-goog-api-key": key})
    assert missing.json()["error"]["status"] == "NOT_FOUND"


def test_google_clients_read_their_own_forms_below_v1_too(scene: Scene) -> None:
    """Google's newer SDKs ask `/v1`, where the others do: their key's header says who asks."""
    client, sent = scene.gateway.client, {"x-goog-api-key": scene.gateway.key}
    listed = client.get("/v1/models", headers=sent).json()
    assert listed == client.get("/v1beta/models", headers=sent).json()
    assert client.get("/v1/models/auto", headers=sent).json()["name"] == "models/auto"
    for path in ("/v1/models/nobody", "/v1/files", "/v1/cachedContents"):
        assert client.get(path, headers=sent).json()["error"]["status"] == "NOT_FOUND", path


def test_a_model_is_looked_up_by_every_name_that_it_is_asked_for_by(scene: Scene) -> None:
    """What may stand in `model` may be looked up: a model's own name gives the entry of the target that serves it."""
    client, key = scene.gateway.client, scene.gateway.key
    ours = client.get("/v1/models/gpt-5.4-nano", headers={"authorization": f"Bearer {key}"})
    assert ours.json()["id"] == "openai/gpt-5.4-nano"
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    theirs = client.get("/v1/models/gpt-5.4-nano", headers=headers)
    assert theirs.json()["id"] == "openai/gpt-5.4-nano"
    google = client.get("/v1beta/models/gpt-5.4-nano", headers={"x-goog-api-key": key}).json()
    assert google["name"] == "models/openai/gpt-5.4-nano"
    near = client.get("/v1/models/gpt-5.4-nanoo", headers={"authorization": f"Bearer {key}"})
    assert near.status_code == 404
    assert "did you mean `openai/gpt-5.4-nano`" in near.json()["error"]["message"]
