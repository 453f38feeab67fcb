"""P2: what was cut short is booked at no less than it may have cost, and a budget pays for what fits in it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import httpx
import pytest

from backends.wire.outcome import Outcome
from gateway import pipeline
from gateway.admission import Ask, Grant, Limit, Reservation
from gateway.arrival import Reply
from gateway.attempts import Attempts
from gateway.case import Case
from gateway.identity import NewKey, lookup, revoke_key
from gateway.ledger import open_database
from gateway.leg import Leg
from gateway.reservations import Hold, Settler
from policies.facts import Kept
from tests.gateway_process import RunningGateway, Scene, wait_for
from tests.upstreams import Scripted, chat_answer, chat_stream, event

PLAIN = "openai/gpt-4.1"
"""No hidden reasoning: what is seen bounds what was made."""
CAP = 2000


def body(model: str = PLAIN, **more: object) -> dict[str, object]:
    return {
        "model": model,
        "max_completion_tokens": CAP,
        "messages": [{"role": "user", "content": "hi"}],
        **more,
    }


def ask_and_leave(scene: Scene, seconds: float) -> None:
    """Hang up after so long."""
    headers = {"authorization": f"Bearer {scene.gateway.key}"}
    address = f"{scene.gateway.url}/v1/chat/completions"
    with pytest.raises(httpx.TimeoutException):
        httpx.post(address, json=body(), headers=headers, timeout=seconds)


def test_plain_answer_that_nobody_waits_for(scene: Scene) -> None:
    """Nothing of it is seen before its end: it may have been as long as it was allowed to be."""
    scene.outside.default = Scripted(fault="stall", is_stream=True)
    ask_and_leave(scene, 0.5)
    wait_for(lambda: len(scene.gateway.rows("attempts")) == 1)
    [row] = scene.gateway.rows("attempts")
    assert (row["state"], row["output_tokens"]) == ("interrupted", CAP)
    assert row["cost_nanousd"] == row["reserved_nanousd"]


def test_stream_that_is_read_is_booked_by_what_was_seen(scene: Scene) -> None:
    """With what may have been under way, of each choice."""
    scene.outside.default = chat_stream(("a" * 100,), held_back=threading.Event())
    with scene.gateway.client.stream(
        "POST",
        "/v1/chat/completions",
        json=body(stream=True, n=2),
        headers={"authorization": f"Bearer {scene.gateway.key}"},
    ) as answer:
        for _line in answer.iter_lines():
            break
    wait_for(lambda: len(scene.gateway.rows("attempts")) == 1)
    [row] = scene.gateway.rows("attempts")
    assert row["state"] == "interrupted"
    assert 2 * 64 <= row["output_tokens"] <= 100 + 2 * 64


def test_stream_that_is_not_read_is_booked_at_its_cap(scene: Scene) -> None:
    """A host that was held back had more to say than anybody took, and bills all of it."""
    said = event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"content": "x"}, "finish_reason": None, "pad": "y" * 60_000}]})  # fmt: skip
    scene.outside.script.append(Scripted(chunks=(said,) * 500, is_stream=True))
    raw = httpx.Request("POST", scene.gateway.url, json=body(stream=True)).content
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {scene.gateway.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    )
    with socket.socket() as bare:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        parts = urlsplit(scene.gateway.url)
        bare.connect((parts.hostname, parts.port))
        bare.sendall(head.encode() + raw)
        time.sleep(1)
    wait_for(lambda: len(scene.gateway.rows("attempts")) == 1)
    [row] = scene.gateway.rows("attempts")
    assert (row["state"], row["output_tokens"]) == ("interrupted", CAP)


async def test_broken_stream_is_given_up_before_it_is_booked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only then is known how much more had come."""
    steps: list[str] = []

    async def settle(*_leg: object) -> None:
        steps.append("settle")

    monkeypatch.setattr(Attempts, "_settle_failed", settle)
    attempts = Attempts.__new__(Attempts)
    attempts._reply = cast("Reply", SimpleNamespace(has_started=False))  # pyright: ignore[reportPrivateUsage]
    upstream = SimpleNamespace(abort=lambda: steps.append("abort"))
    leg = cast("Leg", SimpleNamespace(upstream=upstream, outcome=Outcome()))
    await attempts._end_broken(leg, b"")  # pyright: ignore[reportPrivateUsage]  # the order is the point
    assert steps == ["abort", "settle"]


def test_count_of_the_beginning_is_not_the_count_of_the_whole(scene: Scene) -> None:
    """Some hosts count as they go: what came after the last count was used too."""
    first = event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"content": "a"}, "finish_reason": None}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1}})  # fmt: skip
    rest = chat_stream(("b" * 50,) * 10, has_end=False).chunks
    scene.outside.script.append(
        Scripted(chunks=(first, *rest), is_stream=True, fault="cut", pause=0.01)
    )
    assert scene.gateway.chat(body(stream=True)).status_code == 200
    [row] = scene.gateway.rows("attempts")
    assert (row["state"], row["input_tokens"], row["usage_source"]) == ("failed", 5, "bound")
    assert row["output_tokens"] >= 501


def test_count_of_nothing_is_no_count(scene: Scene) -> None:
    """An answer to a prompt of no tokens there is not."""
    nothing: dict[str, object] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    scene.outside.script.append(chat_answer("hello there", usage=nothing))
    scene.outside.script.append(chat_stream(("hello", " there"), usage=nothing))
    for is_stream in (False, True):
        assert scene.gateway.chat(body(stream=is_stream)).status_code == 200
    for row in scene.gateway.rows("attempts"):
        assert (row["state"], row["usage_source"]) == ("settled", "bound")
        assert row["input_tokens"] > 0
        assert row["output_tokens"] >= 11


def test_budget_pays_for_what_fits(scene: Scene) -> None:
    """`auto` goes on to the first that the budget has room for, says so, and refuses only if nothing fits."""
    dearest = scene.gateway.say("hi", "auto:best").headers["x-moegate-target"]

    def ask(nanousd: int, model: str) -> httpx.Response:
        key = scene.gateway.make_key(NewKey("t", limit=Limit("", "total", nanousd)))
        return scene.gateway.say("hi", model, authorization=f"Bearer {key}")

    assert ask(10**12, "auto:best").headers["x-moegate-target"] == dearest
    fits = ask(10**8, "auto:best")
    assert fits.status_code == 200
    assert fits.headers["x-moegate-target"] != dearest
    assert fits.headers["x-moegate-attempts"] == "1"
    assert scene.gateway.rows("attempts")[-1]["reserved_nanousd"] <= 10**8
    record = scene.gateway.client.get(
        f"/admin/api/v1/requests/{fits.headers['x-moegate-request-id']}",
        headers={"authorization": f"Bearer {scene.gateway.key}"},
    )
    explained = record.json()["explanation"].splitlines()
    [first] = [line for line in explained if line.startswith(f"  1. {dearest}")]
    assert "passed over: it may cost more than the budget had left" in first
    [went] = [line for line in explained if f". {fits.headers['x-moegate-target']}" in line]
    assert "passed over" not in went
    refused = ask(1000, PLAIN)
    assert refused.status_code == 429
    assert "may cost up to 0." in refused.json()["error"]["message"]


async def test_no_two_holds_have_one_name() -> None:
    """A hold for a call that was not made after all is no hold for the next, dearer one."""
    asked: list[Ask] = []

    class Store:
        async def admit(self, ask: Ask) -> Grant:
            asked.append(ask)
            amount = ask.amounts_nanousd[0]
            return Grant(Reservation(ask.request_id, ask.organisation_id, (), amount))

        async def settle(self, reservation: Reservation, spent_nanousd: int) -> bool:
            return reservation.amount_nanousd >= spent_nanousd

    hold = Hold(cast("Settler", Store()))
    case = cast("Case", SimpleNamespace(
        request_id="r", received_at=0.0,
        principal=SimpleNamespace(organisation_id="o", budgets=(Limit("key:k", "total", 9),)),
    ))  # fmt: skip
    for amount in (1, 5, 3, 8):
        await hold.ensure(case, Kept("t", "", worst_case_nanousd=amount))
    assert [one.amounts_nanousd for one in asked] == [(1,), (5,), (8,)]
    assert len({one.request_id for one in asked} | {"r"}) == 4


def test_key_revoked_under_way(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that takes its time is no way to use a key that was taken back meanwhile."""
    monkeypatch.setattr(pipeline, "SLOW_BODY_SECONDS", 0.2)
    monkeypatch.setattr(lookup, "FRESH_SECONDS", 0.2)
    key = scene.gateway.make_key(NewKey("t"))
    assert scene.gateway.say("hi", authorization=f"Bearer {key}").status_code == 200
    before = len(scene.home.requests) + len(scene.outside.requests)
    raw = httpx.Request("POST", scene.gateway.url, json=body("auto")).content

    def slowly() -> Iterator[bytes]:
        yield raw[:10]
        revoke(scene.gateway)
        time.sleep(0.4)
        yield raw[10:]

    answer = scene.gateway.client.post(
        "/v1/chat/completions",
        content=slowly(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    assert answer.status_code == 401
    assert len(scene.home.requests) + len(scene.outside.requests) == before


def revoke(gateway: RunningGateway) -> None:
    """Every key there is."""

    async def revoke_all() -> None:
        engine = open_database(gateway.settings.database_url)
        for row in rows:
            assert await revoke_key(engine, row["key_id"], now=time.time())
        await engine.dispose()

    rows = gateway.rows("keys")
    asyncio.run(revoke_all())
