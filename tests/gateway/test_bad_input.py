"""Bad input gets a precise error in OpenAI's form; nothing is sent upstream, nothing is booked."""

import base64
import json
import re
from pathlib import Path

import pytest

from tests.gateway_process import Scene, running_gateway

HI = [{"role": "user", "content": "hi"}]


def image(url: str) -> list[dict[str, object]]:
    """A message with an image."""
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


CASES: list[tuple[str, bytes, int, str, str | None, str]] = [
    ("malformed", b'{"model":"auto",', 400, "invalid_json", None, "not JSON"),
    ("empty", b"", 400, "invalid_json", None, "empty"),
    ("no object", b"[1]", 400, "", None, "JSON object"),
    ("bad UTF-8", b'{"model":"\xff"}', 400, "invalid_json", None, "UTF-8"),
    ("duplicate", b'{"model":"a","model":"b","messages":[]}', 400, "duplicate_key", None, "twice"),
    ("NaN", b'{"model":"auto","temperature":NaN,"messages":[]}', 400, "", None, "NaN"),
    ("no model", json.dumps({"messages": HI}).encode(), 400, "missing_required_parameter", "model", ""),
    ("no messages", b'{"model":"auto"}', 400, "missing_required_parameter", "messages", ""),
    ("empty list", b'{"model":"auto","messages":[]}', 400, "", "messages", "empty"),
    ("type", json.dumps({"model": 3, "messages": HI}).encode(), 400, "invalid_type", "model", "text"),
    (
        "role", json.dumps({"model": "auto", "messages": [{"role": "wizard", "content": "x"}]}).encode(),
        400, "invalid_value", "messages[0].role", "wizard",
    ),
    (
        "image", json.dumps({"model": "auto", "messages": image("data:image/png;base64,@@@")}).encode(),
        400, "", "messages[0].content[0].image_url.url", "base64",
    ),
    (
        "image scheme", json.dumps({"model": "auto", "messages": image("file:///etc/passwd")}).encode(),
        400, "", "messages[0].content[0].image_url.url", "",
    ),
    (
        "unknown model", json.dumps({"model": "gpt-99", "messages": HI}).encode(),
        404, "model_not_found", "model", "gpt-99",
    ),
    (
        "provider off", json.dumps({"model": "claude-opus-5-5", "messages": HI}).encode(),
        404, "model_not_found", "model",
        "the model `claude-opus-5-5` is known, but its provider is off: set `ANTHROPIC_API_KEY` for `anthropic`",
    ),
    (
        "cap", json.dumps({"model": "auto", "messages": HI, "max_tokens": -1}).encode(),
        400, "", "max_tokens", "",
    ),
    (
        "temperature", json.dumps({"model": "auto", "messages": HI, "temperature": 9}).encode(),
        400, "", "temperature", "",
    ),
    ("deep", b'{"model":"auto","messages":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "", None, ""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_bad_body(scene: Scene, case: tuple[str, bytes, int, str, str | None, str]) -> None:
    """Each kind of bad body: status, code, place and words; nothing leaves, nothing is booked."""
    _name, body, status, code, param, words = case
    headers = {"authorization": f"Bearer {scene.gateway.key}", "content-type": "application/json"}
    answer = scene.gateway.client.post("/v1/chat/completions", content=body, headers=headers)
    error = answer.json()["error"]
    assert answer.status_code == status, error
    assert error["param"] == param
    assert words in error["message"]
    assert not code or error["code"] == code
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-moegate-request-id"] == error["request_id"]
    assert answer.headers["x-request-id"] == error["request_id"]
    assert scene.outside.requests == scene.home.requests == []
    assert scene.gateway.rows("attempts") == scene.gateway.rows("requests") == []


def test_what_no_target_takes_is_named_as_it_was_sent(scene: Scene) -> None:
    """A need that nobody meets: in the client's words, with the member that it comes of."""
    (home,) = (
        target.name
        for target in scene.gateway.runtime.services.routing.current.targets
        if target.boundary == "self_hosted"
    )
    url, sound = "https://example.com/a.png", {"data": "aGk=", "format": "wav"}
    by_address = image(url)
    heard = [{"role": "user", "content": [{"type": "input_audio", "input_audio": sound}]}]
    error = scene.gateway.chat({"model": home, "messages": by_address}).json()["error"]
    assert (error["code"], error["param"]) == ("no_target", "messages")
    assert "it does not take media by address (image URLs)" in error["message"]
    error = scene.gateway.chat({"model": home, "messages": heard}).json()["error"]
    assert (error["code"], error["param"]) == ("no_target", "messages")
    assert "it does not take audio" in error["message"]
    # One that the policy strikes, too, is not for the client to mend.
    card = [*by_address, {"role": "user", "content": "card 4111 1111 1111 1111"}]
    error = scene.gateway.chat({"model": "auto", "messages": card}).json()["error"]
    assert (error["code"], error["param"]) == ("no_target", None)


def test_more_answers_than_anybody_gives(tmp_path: Path) -> None:
    """`n` is named where the only target gives one answer."""
    with running_gateway(tmp_path, {"MOEGATE_SIMULATOR": "on"}) as gateway:
        error = gateway.say(n=3).json()["error"]
    assert (error["code"], error["param"]) == ("no_target", "n")
    assert "it does not take `n` above 1" in error["message"]


def test_missing_and_wrong_keys(scene: Scene) -> None:
    """No key, another scheme, a wrong key: 401 with OpenAI's code."""
    for headers in ({}, {"authorization": "Basic abc"}, {"authorization": "Bearer mg-wrong"}):
        for _ in range(2):
            answer = scene.gateway.client.post(
                "/v1/chat/completions", json={"model": "auto", "messages": HI}, headers=headers
            )
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
    assert scene.home.requests == scene.outside.requests == []


def test_body_of_20_mb_is_refused(scene: Scene) -> None:
    """Larger than the limit: 413, whether the length is declared or not."""
    headers = {"authorization": f"Bearer {scene.gateway.key}", "content-type": "application/json"}
    body = b"x" * 20_000_000
    for content in (body, iter([body[:10_000_000], body[10_000_000:]])):
        answer = scene.gateway.client.post("/v1/chat/completions", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"


def test_unknown_content_types(scene: Scene) -> None:
    """Anything but plain JSON in UTF-8: 415."""
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
    ):
        answer = scene.gateway.chat({"model": "auto", "messages": HI}, content_type=kind)
        assert answer.status_code == 415
        assert answer.json()["error"]["code"] == "unsupported_media_type"
    answer = scene.gateway.chat({"model": "auto", "messages": HI}, content_encoding="gzip")
    assert answer.status_code == 415


def test_unknown_paths_and_methods(scene: Scene) -> None:
    """404 and 405 in the same error form."""
    missing = scene.gateway.client.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    for method in ("GET", "PUT", "DELETE"):
        wrong = scene.gateway.client.request(method, "/v1/chat/completions")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert wrong.json()["error"]["code"] == "method_not_allowed"
    assert scene.gateway.client.post("/v1/models").status_code == 405


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/responses", "/v1/responses"),
        ("/v1beta/v1/models/m:generateContent", "/v1/models/m:generateContent"),
        ("/v1/files", ""),
        ("/v1", ""),
    ],
)
def test_a_base_url_with_v1_too_few_or_too_many_is_told(
    scene: Scene, path: str, meant: str
) -> None:
    """The first mistake of a newcomer: one SDK's base URL ends in `/v1`, another's must not."""
    missing = scene.gateway.client.post(path, json={})
    assert missing.status_code == 404
    found = re.findall(r"did you mean `([^`]*)`", missing.json()["error"]["message"])
    assert found == ([meant] if meant else [])


def test_web_sockets_are_declined(scene: Scene) -> None:
    """With the status that tells a client of OpenAI's to go on without."""
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "eA=="}
    headers["sec-websocket-version"] = "13"
    declined = scene.gateway.client.get("/v1/responses", headers=headers)
    assert (declined.status_code, declined.headers["upgrade"]) == (426, "HTTP/1.1")
    assert declined.json()["error"]["code"] == "method_not_allowed"
    assert scene.gateway.say().status_code == 200


def test_prompt_longer_than_every_context(scene: Scene) -> None:
    """A hopeless length is refused before anything leaves, in the words that clients know."""
    answer = scene.gateway.say("word " * 200_000, "sglang/home-model")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert scene.home.requests == []


def test_unknown_data_class(scene: Scene) -> None:
    """A class that does not exist is an error, not a default."""
    answer = scene.gateway.say("hi", x_data_class="secretish")
    assert answer.status_code == 400
    assert "confidential" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "name", ["x-data-class", "x-moegate-cache", "x-moegate-strict", "authorization"]
)
def test_header_that_stands_twice(scene: Scene, name: str) -> None:
    """Whichever of the two were taken, it might be the wrong one: nothing leaves."""
    good = {"x-data-class": "internal", "x-moegate-cache": "on", "x-moegate-strict": "false",
            "authorization": f"Bearer {scene.gateway.key}"}  # fmt: skip
    headers = [*good.items(), (name, "restricted")]
    answer = scene.gateway.client.post(
        "/v1/chat/completions", json={"model": "auto", "messages": HI}, headers=headers
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, name, "invalid_value")
    assert scene.home.requests == scene.outside.requests == []


@pytest.mark.parametrize(("name", "value"), [("cache", "no-store"), ("cache", ""), ("strict", "1")])
def test_word_that_a_header_does_not_know(scene: Scene, name: str, value: str) -> None:
    """Who asks for strictness in other words must not be served without it."""
    answer = scene.gateway.say("hi", **{f"x_moegate_{name}": value})
    assert answer.status_code == 400
    assert f"x-moegate-{name}" in answer.json()["error"]["message"]
    assert scene.home.requests == scene.outside.requests == []


def test_words_of_headers_are_read_in_any_case(scene: Scene) -> None:
    """`TRUE` is `true`, here as in every other gateway."""
    assert (
        scene.gateway.say("hi", x_moegate_strict="TRUE", x_moegate_cache="Off").status_code == 200
    )


def test_costly_members_are_refused(scene: Scene) -> None:
    """What is billed or sent on outside of the policy is refused."""
    for name, value in (("service_tier", "priority"), ("web_search_options", {})):
        answer = scene.gateway.chat({"model": "auto", "messages": HI, name: value})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "policy_refused"
    assert scene.home.requests == scene.outside.requests == []


def test_image_that_is_one_is_taken(scene: Scene) -> None:
    """The checks above do not refuse what is right."""
    data = base64.b64encode(b"\x89PNG").decode()
    url = f"data:image/png;base64,{data}"
    assert scene.gateway.chat({"model": "auto", "messages": image(url)}).status_code == 200


def test_two_keys_on_a_page(scene: Scene) -> None:
    """The pages read a key as the hot endpoint does: two of them are refused, and so are odd bytes."""
    twice = [("authorization", f"Bearer {scene.gateway.key}"), ("authorization", "Bearer other")]
    refused = scene.gateway.client.get("/v1/models", headers=twice)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "authorization")
    odd = [(b"authorization", f"Bearer {scene.gateway.key}".encode() + b"\xff")]
    assert scene.gateway.client.get("/v1/models", headers=odd).status_code == 401
