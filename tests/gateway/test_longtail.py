"""A provider of the long tail through the whole gateway: Cohere's wire at the host, OpenAI's at the client."""

import asyncio
import json
import threading
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from gateway.admission import Limit
from gateway.identity import NewKey
from tests.gateway_process import RunningGateway, running_gateway, two_sided, wait_for
from tests.upstreams import Scripted, Upstream, event, plain, running_upstream

pytestmark = pytest.mark.filterwarnings("ignore:Item:UserWarning:pydantic")  # of LiteLLM's types

TARGET = "cohere/command-a-03-2025"
USAGE = {
    "billed_units": {"input_tokens": 1000, "output_tokens": 100},
    "tokens": {"input_tokens": 1066, "output_tokens": 104},
}
COST_NANOUSD = 1000 * 2500 + 100 * 10_000
"""Of the billed tokens, at 2.50 and 10 dollars a million."""
TOOL = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
}


def cohere_answer(finish: str = "COMPLETE", usage: object = USAGE, **message: object) -> Scripted:
    said = {"role": "assistant", "content": [{"type": "text", "text": "hello"}], **message}
    body = {"id": "c1", "finish_reason": finish, "message": said}
    return plain(body if usage is None else body | {"usage": usage})


def cohere_stream(*, has_end: bool = True, pause: float = 0.0) -> Scripted:
    def delta(kind: str, message: object, index: int = 0) -> bytes:
        return event({"type": kind, "index": index, "delta": {"message": message}})

    call = {"id": "t1", "type": "function", "function": {"name": "get_time", "arguments": ""}}
    chunks = [
        event({"id": "c1", "type": "message-start", "delta": {"message": {"content": []}}}),
        delta("content-delta", {"content": {"text": "hel"}}),
        delta("content-delta", {"content": {"text": "lo"}}),
        delta("tool-call-start", {"tool_calls": call}),
        delta("tool-call-delta", {"tool_calls": {"function": {"arguments": "{}"}}}),
        delta("tool-call-end", None),
    ]
    if has_end:
        end = {"finish_reason": "TOOL_CALL", "usage": USAGE}
        chunks += [event({"type": "message-end", "delta": end}), b"data: [DONE]\n\n"]
    return Scripted(
        chunks=tuple(chunks), is_stream=True, pause=pause, fault="" if has_end else "cut"
    )


@pytest.fixture(scope="module")
def cohere() -> Generator[Upstream]:
    with running_upstream() as host:
        yield host


@pytest.fixture(scope="module")
def gateway(
    cohere: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Generator[RunningGateway]:
    """One gateway for this module: what it loads takes seconds."""
    environ = {"COHERE_API_KEY": "co-test-key", "COHERE_BASE_URL": cohere.url}
    with running_gateway(tmp_path_factory.mktemp("longtail"), environ) as gateway:
        adapter = gateway.runtime.services.routing.current.adapters["longtail"]
        wait_for(lambda: adapter.load is None, seconds=30)
        yield gateway


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:  # pyright: ignore[reportUnusedFunction]  # a fixture
    """Nothing is held against the host from test to test."""
    if "gateway" in request.fixturenames:
        gateway: RunningGateway = request.getfixturevalue("gateway")
        gateway.runtime.services.signals.health.record_success(TARGET, 0)


def last_attempt(gateway: RunningGateway) -> dict[str, object]:
    rows = gateway.rows("attempts")
    return max(rows, key=lambda row: (row["started_at"], row["ordinal"]))


def test_plain_chat(gateway: RunningGateway, cohere: Upstream) -> None:
    """Asked in Cohere's words under our key, answered in OpenAI's, booked as billed."""
    cohere.script.append(cohere_answer())
    answer = gateway.say("hi", TARGET, max_tokens=50, temperature=0.3, user="u")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert answer.json()["choices"][0]["finish_reason"] == "stop"
    assert answer.json()["usage"]["prompt_tokens"] == 1000
    assert answer.headers["x-moegate-target"] == TARGET
    assert answer.headers["x-moegate-cost-usd"] == "0.003500000"
    assert answer.headers["x-moegate-dropped"] == "user"
    sent = cohere.requests[-1]
    assert sent.path == "/v2/chat"
    assert sent.headers["authorization"] == "Bearer co-test-key"
    assert gateway.key not in str(sent)
    assert sent.json == {
        "model": "command-a-03-2025", "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 50, "temperature": 0.3,
    }  # fmt: skip
    row = last_attempt(gateway)
    assert (row["state"], row["usage_source"], row["provider"]) == ("settled", "provider", "cohere")
    assert (row["input_tokens"], row["output_tokens"]) == (1000, 100)
    assert row["cost_nanousd"] == COST_NANOUSD


def test_stream_with_text_and_call(gateway: RunningGateway, cohere: Upstream) -> None:
    """Events become chunks as they come; usage is booked though the client did not ask for it."""
    cohere.script.append(cohere_stream())
    answer = gateway.say("hi", TARGET, stream=True, tools=[TOOL])
    events = answer.text.strip().split("\n\n")
    assert events.pop() == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in events]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content") or "" for delta in deltas) == "hello"
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("t1", "get_time")
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert not any("usage" in chunk for chunk in chunks)
    assert cohere.requests[-1].json["stream"] is True
    row = last_attempt(gateway)
    assert (row["state"], row["cost_nanousd"]) == ("settled", COST_NANOUSD)
    assert row["finish_reason"] == "tool_call"


def test_answer_without_a_count_is_booked_at_its_bound(
    gateway: RunningGateway, cohere: Upstream
) -> None:
    """Nothing counted is not free."""
    cohere.script.append(cohere_answer(usage=None))
    assert gateway.say("hi", TARGET).status_code == 200
    row = last_attempt(gateway)
    assert (row["state"], row["usage_source"]) == ("settled", "bound")
    assert row["cost_nanousd"] != 0


def test_cut_stream_ends_in_a_typed_error(gateway: RunningGateway, cohere: Upstream) -> None:
    """No finish is made up, and what was seen is booked."""
    cohere.script.append(cohere_stream(has_end=False, pause=0.02))
    answer = gateway.say("hi", TARGET, stream=True)
    last = json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))
    assert last["error"]["code"] == "upstream_failed"
    assert "[DONE]" not in answer.text
    row = last_attempt(gateway)
    assert (row["state"], row["usage_source"]) == ("failed", "bound")


@pytest.mark.parametrize(
    ("status", "message", "expected", "kind"),
    [
        (400, "invalid request: no", 400, "invalid_request"),
        (400, "too many tokens: cannot exceed 4081", 400, "context_too_long"),
        (401, "invalid api token", 502, "upstream_failed"),
        (429, "trial key limit", 429, "rate_limited"),
        (500, "internal", 502, "upstream_failed"),
    ],
)
def test_errors_are_mapped(
    gateway: RunningGateway, cohere: Upstream, status: int, message: str, expected: int, kind: str
) -> None:
    """Cohere's errors in OpenAI's form; nothing is booked for them."""
    reply = plain({"message": message, "id": "e1"}, status)
    cohere.script.extend([reply, reply])
    answer = gateway.say("hi", TARGET)
    cohere.script.clear()
    assert (answer.status_code, answer.headers["x-moegate-error"]) == (expected, kind)
    row = last_attempt(gateway)
    assert (row["state"], row["cost_nanousd"], row["upstream_status"]) == ("failed", 0, status)


def test_budget_caps_what_is_asked_for(gateway: RunningGateway, cohere: Upstream) -> None:
    """Under a budget the bound of the bill holds at this provider too: its cap is sent."""
    key = gateway.make_key(NewKey(team="tail", name="capped", limit=Limit("", "total", 5 * 10**9)))
    cohere.script.append(cohere_answer())
    answer = gateway.say("hi", TARGET, authorization=f"Bearer {key}")
    assert answer.status_code == 200, answer.text
    assert cohere.requests[-1].json["max_tokens"] == 8000


def test_client_that_leaves_stops_the_call(gateway: RunningGateway, cohere: Upstream) -> None:
    """Hanging up in the middle reaches the host."""
    cohere.hung_up.clear()
    cohere.script.append(cohere_stream(pause=0.5))
    body = {"model": TARGET, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {gateway.key}"}
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers) as answer:
        next(answer.iter_lines())
    assert cohere.hung_up.wait(5)
    wait_for(lambda: last_attempt(gateway)["state"] == "interrupted")


def test_others_are_served_while_the_first_request_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading takes seconds: whoever asks for that provider waits, everybody else does not."""
    from backends.longtail import LongtailAdapter

    release, entered = threading.Event(), threading.Event()
    warm = LongtailAdapter.warm

    def slowly(adapter: LongtailAdapter) -> None:
        entered.set()
        assert release.wait(20)
        warm(adapter)

    monkeypatch.setattr(LongtailAdapter, "warm", slowly)
    with running_upstream() as cohere, running_upstream() as outside, running_upstream() as home:
        cohere.default = cohere_answer()
        environ = two_sided(outside, home)
        environ |= {"COHERE_API_KEY": "co-test-key", "COHERE_BASE_URL": cohere.url}
        with running_gateway(tmp_path / "home", environ) as gateway:
            assert entered.wait(10), "it is loaded when it is switched on, before anybody asks"
            answers: list[httpx.Response] = []
            asking = threading.Thread(target=lambda: answers.append(gateway.say("hi", TARGET)))
            asking.start()
            started = time.monotonic()
            for _ in range(5):
                assert gateway.say("hi", "openai/gpt-5.5").status_code == 200
            assert time.monotonic() - started < 3
            assert (answers, cohere.requests) == ([], [])
            release.set()
            asking.join(20)
            assert [answer.status_code for answer in answers] == [200]


async def test_loop_goes_on_while_it_loads() -> None:
    """The real import, in a process of its own: the event loop is held up for moments only."""
    code = """
import asyncio, time
from backends.longtail import LongtailAdapter
async def main():
    load, worst = LongtailAdapter({}).load, 0.0
    task = asyncio.create_task(load())
    while not task.done():
        began = time.monotonic()
        await asyncio.sleep(0.001)
        worst = max(worst, time.monotonic() - began)
    await task
    print(worst)
asyncio.run(main())
"""
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert float(out) < 1.0
