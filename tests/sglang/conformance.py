"""What makes an SGLang worker one, as checks: run against captures, the simulator and the real server.

A conversation (:func:`converse`) asks a server everything that gateways ask; its transcript is reduced to
shapes (member names and types, order of events, statuses), so that two transcripts can be compared
whatever was said.
"""

import json
import re
import time
from collections.abc import Iterable
from typing import Any

import httpx

SHORT = [
    {
        "role": "user",
        "content": "Say something short about a quiet lake in the early morning light.",
    }
]
BODY: dict[str, Any] = {"model": "tiny", "messages": SHORT, "max_tokens": 6, "temperature": 0}

Transcript = dict[str, Any]


def converse(url: str, model: str) -> Transcript:
    """Ask everything once; ``model`` is what the server says it serves."""
    body = BODY | {"model": model}
    said: Transcript = {}
    with httpx.Client(base_url=url, timeout=60) as client:
        said["models"] = answer(client.get("/v1/models"))
        said["health"] = client.get("/health").status_code
        said["model_info"] = answer(client.get("/model_info"))
        said["server_info"] = answer(client.get("/server_info"))
        said["loads"] = answer(client.get("/v1/loads"))
        said["chat"] = answer(client.post("/v1/chat/completions", json=body))
        said["chat_again"] = answer(client.post("/v1/chat/completions", json=body))
        said["chat_stream"] = stream(client, "/v1/chat/completions", body | usage())
        said["chat_stream_quiet"] = stream(client, "/v1/chat/completions", body | {"stream": True})
        text = {"model": model, "prompt": "Once upon a time", "max_tokens": 6, "temperature": 0}
        said["completion"] = answer(client.post("/v1/completions", json=text))
        said["completion_stream"] = stream(client, "/v1/completions", text | usage())
        said["no_json"] = answer(
            client.post(
                "/v1/chat/completions",
                content=b"{oops",
                headers={"content-type": "application/json"},
            )
        )
        said["no_messages"] = answer(client.post("/v1/chat/completions", json={"model": model}))
        bad_role = body | {"messages": [{"role": "wizard", "content": "x"}]}
        said["bad_role"] = answer(client.post("/v1/chat/completions", json=bad_role))
        long = body | {"messages": [{"role": "user", "content": "word and number 1 " * 20_000}]}
        said["too_long"] = answer(client.post("/v1/chat/completions", json=long))
        leave_early(client, body)
        said["metrics"] = metrics_after_abort(client)
    return said


def leave_early(client: httpx.Client, body: dict[str, Any]) -> None:
    """Drop a stream after its first line."""
    long = body | {"stream": True, "max_tokens": 1000, "ignore_eos": True}
    with client.stream("POST", "/v1/chat/completions", json=long) as response:
        next(response.iter_lines())


def metrics_after_abort(client: httpx.Client) -> list[str]:
    """Names of the metrics, once the dropped stream has been counted."""
    deadline = time.monotonic() + 20
    while True:
        names = {
            line.split("{")[0].split(" ")[0]
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("sglang:")
        }
        if "sglang:num_aborted_requests_total" in names:
            return sorted(names)
        assert time.monotonic() < deadline, "the dropped stream was never counted as aborted"
        time.sleep(0.1)


def tidy(said: Transcript, folders: Iterable[str]) -> Transcript:
    """A transcript fit to be kept: no paths of the machine, of the settings only what is compared."""
    text = json.dumps(said)
    for folder in folders:
        text = re.sub(re.escape(folder) + r"[^\s\"',\\\\]*", "PATH", text)
    kept: Transcript = json.loads(text)
    info = kept["server_info"]["body"]
    kept["server_info"]["body"] = {
        name: info[name]
        for name in ("served_model_name", "context_length", "max_total_num_tokens", "version")
    }
    return kept


def usage() -> dict[str, Any]:
    """A streamed request that asks for usage."""
    return {"stream": True, "stream_options": {"include_usage": True}}


def answer(response: httpx.Response) -> dict[str, Any]:
    """Status and body of a plain answer."""
    try:
        return {"status": response.status_code, "body": response.json()}
    except ValueError:
        return {"status": response.status_code, "body": response.text}


def stream(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Status and events of a streamed answer."""
    with client.stream("POST", path, json=body) as response:
        lines = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
        events = [line if line == "[DONE]" else json.loads(line) for line in lines]
        return {"status": response.status_code, "events": events}


def shape(value: object) -> object:
    """Member names and types; the content is left out."""
    if isinstance(value, dict):
        return {str(name): shape(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else "text"


def check(said: Transcript, reference: Transcript) -> None:
    """``said`` is what a server like the one of ``reference`` says."""
    for name in ("models", "chat", "chat_again", "completion"):
        assert said[name]["status"] == reference[name]["status"] == 200, name
        assert shape(said[name]["body"]) == shape(reference[name]["body"]), name
    assert said["health"] == reference["health"] == 200
    for name in ("no_json", "no_messages", "bad_role", "too_long"):
        assert said[name]["status"] == reference[name]["status"], name
        assert set(said[name]["body"]) == set(reference[name]["body"]), name
    for name in ("chat_stream", "chat_stream_quiet", "completion_stream"):
        check_stream(said[name], reference[name], name)
    check_subset(said["model_info"], reference["model_info"], ("model_path", "is_generation"))
    check_subset(
        said["server_info"],
        reference["server_info"],
        ("served_model_name", "context_length", "max_total_num_tokens"),
    )
    check_subset(said["loads"], reference["loads"], ("timestamp", "version"))
    mine, theirs = said["loads"]["body"], reference["loads"]["body"]
    assert not (strange := set(mine) - set(theirs)), strange
    assert not (strange := set(mine["loads"][0]) - set(theirs["loads"][0])), strange
    assert said["metrics"], "no metrics"
    assert not (strange := set(said["metrics"]) - set(reference["metrics"])), strange
    check_cache(said)


def check_stream(said: dict[str, Any], reference: dict[str, Any], name: str) -> None:
    """First, middle, last and closing events have the same shapes in the same order."""
    mine, theirs = said["events"], reference["events"]
    assert mine[-1] == theirs[-1] == "[DONE]", name
    has_usage = isinstance(theirs[-2], dict) and not theirs[-2]["choices"]
    assert (not mine[-2]["choices"]) == has_usage, name
    tail = 2 if has_usage else 1
    assert shape(mine[0]) == shape(theirs[0]), name
    assert shape(mine[1]) == shape(theirs[1]), name
    finish, other = mine[-tail - 1], theirs[-tail - 1]
    assert shape(finish)["choices"][0].keys() == shape(other)["choices"][0].keys(), name  # type: ignore[index]  # shapes are JSON
    assert finish["choices"][0]["finish_reason"] == other["choices"][0]["finish_reason"] == "length"
    if has_usage:
        assert shape(mine[-2]) == shape(theirs[-2]), name


def check_subset(said: dict[str, Any], reference: dict[str, Any], members: tuple[str, ...]) -> None:
    """The members that gateways read are there, with the same types."""
    for member in members:
        assert shape(said["body"][member]) == shape(reference["body"][member]), member


def check_cache(said: Transcript) -> None:
    """The second time, part of the prompt comes from the cache, and it is part of the prompt's count."""
    counts = said["chat_again"]["body"]["usage"]
    cached = counts["prompt_tokens_details"]["cached_tokens"]
    assert 0 < cached < counts["prompt_tokens"]
    assert counts["prompt_tokens"] + counts["completion_tokens"] == counts["total_tokens"]
