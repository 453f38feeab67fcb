"""Kept responses: go on from one, look it up, delete it; nobody else's, and never past what labels forbid."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import Clock
from gateway.identity import NewKey
from gateway.kept.conversation import KEEP_SECONDS
from tests.gateway_process import RunningGateway, Scene, running_gateway, two_sided
from tests.upstreams import Scripted, Upstream, chat_answer, chat_stream, plain, running_upstream

HOME = "auto:private"
GPT = "openai/gpt-5.5"
CARD = "my card is 4111 1111 1111 1111"
MESSAGE = {
    "type": "message", "id": "msg_up", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}],
}  # fmt: skip
THINKING = {
    "type": "reasoning",
    "id": "rs_up",
    "summary": [],
    "encrypted_content": "sealed-by-openai",
}
USAGE = {
    "input_tokens": 5, "output_tokens": 3, "total_tokens": 8,
    "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 1},
}  # fmt: skip


def native(*output: dict[str, Any]) -> dict[str, Any]:
    """A response as OpenAI answers it."""
    return {
        "id": "resp_up", "object": "response", "created_at": 1, "model": "gpt-5.5", "status": "completed",
        "output": list(output), "usage": USAGE, "store": False, "previous_response_id": None,
    }  # fmt: skip


def native_stream(*output: dict[str, Any]) -> Scripted:
    """The same as a stream: begun and ended."""
    whole = native(*output)
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    events = [
        {"type": "response.created", "response": begun, "sequence_number": 0},
        {"type": "response.output_text.delta", "item_id": "msg_up", "output_index": 0,
         "content_index": 0, "delta": "hello", "sequence_number": 1},
        {"type": "response.completed", "response": whole, "sequence_number": 2},
    ]  # fmt: skip
    lines = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]
    return Scripted(
        headers={"content-type": "text/event-stream"}, chunks=tuple(lines), is_stream=True
    )


def ask(gateway: RunningGateway, key: str = "", **body: Any) -> httpx.Response:
    """One request to ``/v1/responses``."""
    said = {"model": HOME, "input": "hi"} | body
    sent = {"authorization": f"Bearer {key or gateway.key}"}
    return gateway.client.post("/v1/responses", json=said, headers=sent)


def look(gateway: RunningGateway, path: str, key: str = "", verb: str = "GET") -> httpx.Response:
    """One request about a kept response."""
    sent = {"authorization": f"Bearer {key or gateway.key}"}
    return gateway.client.request(verb, f"/v1/responses/{path}", headers=sent)


def last(upstream: Upstream) -> dict[str, Any]:
    """The last body that reached a host."""
    return dict(upstream.requests[-1].json)


def test_a_conversation_goes_on_at_a_host_of_another_format(scene: Scene) -> None:
    """Three turns, each with its own input alone: the host at home sees all that was said, in order."""
    said = ["one", "two", "three"]
    previous: str | None = None
    for turn, text in enumerate(said):
        scene.home.default = chat_answer(f"answer {turn}")
        more = {} if previous is None else {"previous_response_id": previous}
        answer = ask(scene.gateway, input=text, instructions=f"Rule {turn}.", **more).json()
        assert (answer["store"], answer["previous_response_id"]) == (True, previous)
        assert answer["id"].startswith("resp_")
        assert answer["id"] != previous
        previous = answer["id"]
    heard = [(one["role"], one["content"]) for one in last(scene.home)["messages"]]
    # Instructions are those of the request alone, as at OpenAI.
    assert heard == [
        ("system", "Rule 2."), ("user", "one"), ("assistant", "answer 0"), ("user", "two"),
        ("assistant", "answer 1"), ("user", "three"),
    ]  # fmt: skip


def test_a_conversation_goes_on_at_openai_with_its_thinking(scene: Scene) -> None:
    """The provider keeps nothing: it gets its own items back, signature and all, in front of what is new."""
    scene.outside.default = plain(native(THINKING, MESSAGE))
    first = ask(scene.gateway, model=GPT, input="one")
    body = first.json()
    assert (body["store"], body["output"]) == (True, [THINKING, MESSAGE])
    sent = last(scene.outside)
    assert (sent["store"], sent["include"]) == (False, ["reasoning.encrypted_content"])
    scene.outside.default = native_stream(THINKING, MESSAGE)
    streamed = ask(
        scene.gateway, model=GPT, stream=True, previous_response_id=body["id"],
        input=[{"role": "user", "content": "two"}],
    )  # fmt: skip
    sent = last(scene.outside)
    one = {"type": "message", "role": "user", "content": "one"}
    assert sent["input"] == [one, THINKING, MESSAGE, {"role": "user", "content": "two"}]
    assert "previous_response_id" not in sent
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line[:5] == "data:"]
    shown = [event["response"] for event in events if "response" in event]
    assert [one["store"] for one in shown] == [True, True]
    assert [one["previous_response_id"] for one in shown] == [body["id"], body["id"]]
    assert shown[0]["id"] == shown[1]["id"] not in ("resp_up", body["id"])
    kept = look(scene.gateway, shown[1]["id"]).json()
    assert kept == shown[1]


def test_a_conversation_moves_between_hosts_of_different_formats(scene: Scene) -> None:
    """Begun at OpenAI, gone on at home, and back: its signature returns to OpenAI alone."""
    scene.outside.default = plain(native(THINKING, MESSAGE))
    first = ask(scene.gateway, model=GPT, input="one").json()["id"]
    scene.home.default = chat_answer("at home")
    second = ask(scene.gateway, input="two", previous_response_id=first).json()["id"]
    assert "sealed-by-openai" not in json.dumps(last(scene.home))
    ask(scene.gateway, model=GPT, input="three", previous_response_id=second)
    sent = last(scene.outside)["input"]
    assert THINKING in sent
    assert [item.get("role") for item in sent if item["type"] == "message"] == [
        "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip


def test_a_streamed_answer_is_kept_from_any_host(scene: Scene) -> None:
    """Retrieved, it is the object that the last event held, word for word."""
    scene.home.default = chat_stream(("he", "llo"))
    text = ask(scene.gateway, stream=True).text
    final = json.loads(text.split("event: response.completed\ndata: ")[1].split("\n")[0])
    kept = look(scene.gateway, final["response"]["id"])
    assert (kept.status_code, kept.json()) == (200, final["response"])
    assert kept.json()["output"][0]["content"][0]["text"] == "hello"


def test_input_items_are_listed_in_pages(scene: Scene) -> None:
    """Everything that an answer answers, newest first unless asked otherwise, with ids that stay."""
    scene.home.default = chat_answer("a1")
    first = ask(scene.gateway, input="q1").json()["id"]
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "q2"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
    ]
    second = ask(scene.gateway, input=items, previous_response_id=first).json()["id"]
    whole = look(scene.gateway, f"{second}/input_items?order=asc").json()
    kinds = [item["type"] for item in whole["data"]]
    assert kinds == ["message", "message", "message", "function_call", "function_call_output"]
    assert whole["data"][0]["content"] == [{"type": "input_text", "text": "q1"}]
    assert whole["data"][1]["content"][0]["text"] == "a1"
    assert whole["has_more"] is False
    assert len({item["id"] for item in whole["data"]}) == 5
    page = look(scene.gateway, f"{second}/input_items?limit=2").json()
    assert page["data"] == whole["data"][:2:-1]
    assert (page["has_more"], page["last_id"]) == (True, page["data"][1]["id"])
    rest = look(scene.gateway, f"{second}/input_items?after={page['last_id']}").json()
    assert rest["data"] == whole["data"][2::-1]
    for bad in ("limit=0", "limit=101", "limit=x", "order=up", "after=msg_no"):
        assert look(scene.gateway, f"{second}/input_items?{bad}").status_code == 400


def test_what_is_deleted_is_gone(scene: Scene) -> None:
    """Not found again, not gone on from, and no conversation that it is part of goes on."""
    scene.home.default = chat_answer("a")
    first = ask(scene.gateway).json()["id"]
    second = ask(scene.gateway, previous_response_id=first).json()["id"]
    deleted = look(scene.gateway, first, verb="DELETE")
    assert deleted.json() == {"id": first, "object": "response", "deleted": True}
    assert look(scene.gateway, first).status_code == 404
    assert look(scene.gateway, first, verb="DELETE").status_code == 404
    calls = len(scene.home.requests)
    for previous in (first, second):
        refused = ask(scene.gateway, previous_response_id=previous)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "previous_response_not_found")
        assert error["param"] == "previous_response_id"
    assert len(scene.home.requests) == calls
    assert look(scene.gateway, second).status_code == 200


def test_a_host_cannot_replace_what_is_kept(scene: Scene) -> None:
    """An answer under the id of another, in spellings that are not made to say ours, replaces nothing."""
    scene.outside.default = plain(native(MESSAGE))
    mine = ask(scene.gateway, model=GPT).json()
    forged = json.dumps(native() | {"id": mine["id"]})
    many = json.dumps({"type": "response.completed", "response": json.loads(forged)}, indent=1)
    lines = "".join(f"data: {line}\n" for line in many.split("\n"))
    twice = forged.replace('"id":', '"id": "x", "id":')
    for is_stream, answer in ((True, f"{lines}\n"), (False, twice)):
        scene.outside.default = Scripted(chunks=(answer.encode(),), is_stream=is_stream)
        assert ask(scene.gateway, model=GPT, stream=is_stream).status_code == 200
        assert look(scene.gateway, mine["id"]).json() == mine
    assert scene.gateway.rows("requests")[-1]["dropped"] == "store"


def test_store_false_keeps_nothing(scene: Scene) -> None:
    """Said so, an answer is nowhere afterwards, and says itself that it is not kept."""
    scene.home.default = chat_answer("a")
    answer = ask(scene.gateway, store=False).json()
    assert answer["store"] is False
    assert look(scene.gateway, answer["id"]).status_code == 404
    assert ask(scene.gateway, previous_response_id=answer["id"]).status_code == 400
    assert scene.gateway.rows("kept_responses") == scene.gateway.rows("kept_items") == []


def test_items_may_be_named_instead_of_repeated(scene: Scene) -> None:
    """An item of a kept answer stands for itself by its id; one of nobody's is an error."""
    scene.home.default = chat_answer("the plan")
    item = ask(scene.gateway).json()["output"][0]
    named = [{"type": "item_reference", "id": item["id"]}, {"role": "user", "content": "go"}]
    assert ask(scene.gateway, input=named).status_code == 200
    heard = [one["content"] for one in last(scene.home)["messages"]]
    assert heard == ["the plan", "go"]
    missing = ask(scene.gateway, input=[{"type": "item_reference", "id": "msg_nobody"}])
    assert (missing.status_code, missing.json()["error"]["code"]) == (400, "item_not_found")


def test_the_words_of_a_reference_are_none(scene: Scene) -> None:
    """Where they stand elsewhere the body is what it was; also without an input, which a kept prompt would be."""
    scene.outside.default = plain(native(MESSAGE))
    words = {"item_reference": "1"}
    assert ask(scene.gateway, model=GPT, input="hi", metadata=words).status_code == 200
    assert last(scene.outside)["input"] == "hi"
    sent = {"authorization": f"Bearer {scene.gateway.key}"}
    body = {"model": GPT, "prompt": {"id": "pmpt_1"}, "metadata": words}
    bare = scene.gateway.client.post("/v1/responses", json=body, headers=sent)
    assert (bare.status_code, bare.json()["error"]["param"]) == (403, "prompt")


@pytest.mark.parametrize("holder", ["organisation", "team"])
def test_kept_responses_are_their_teams_own(scene: Scene, holder: str) -> None:
    """Another organisation's key, or another team's, is told what it would be told of an id that never was."""
    scene.home.default = chat_answer("a")
    answer = ask(scene.gateway).json()
    asked = NewKey("others", organisation="other") if holder == "organisation" else NewKey("others")
    other = scene.gateway.make_key(asked)
    item = [{"type": "item_reference", "id": answer["output"][0]["id"]}]
    for one, nothing in ((answer["id"], "resp_never"), (item, "msg_never")):
        if isinstance(one, str):
            for path in ("", "/input_items"):
                there, never = (
                    look(scene.gateway, one + path, other),
                    look(scene.gateway, nothing + path, other),
                )
                assert there.status_code == never.status_code == 404
                assert (
                    there.text.replace(one, nothing).split("request")[0]
                    == never.text.split("request")[0]
                )
            assert look(scene.gateway, one, other, "DELETE").status_code == 404
            assert ask(scene.gateway, other, previous_response_id=one).status_code == 400
        else:
            assert ask(scene.gateway, other, input=one).status_code == 400
    assert look(scene.gateway, answer["id"]).status_code == 200
    colleague = scene.gateway.make_key(NewKey("default"))
    mine = [row["team_id"] for row in scene.gateway.rows("kept_responses")]
    teams = {row["team_id"]: row["name"] for row in scene.gateway.rows("teams")}
    status = 200 if teams[mine[0]] == "default" else 404
    assert look(scene.gateway, answer["id"], colleague).status_code == status


def test_what_was_private_once_stays_at_home(scene: Scene) -> None:
    """A later turn without a word of it goes nowhere else: the whole conversation is looked at anew."""
    scene.home.default = chat_answer("noted")
    first = ask(scene.gateway, input=CARD, model="auto").json()["id"]
    refused = ask(scene.gateway, input="and now?", model=GPT, previous_response_id=first)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_target")
    on = ask(scene.gateway, input="and now?", model="auto", previous_response_id=first)
    assert on.headers["x-moegate-target"].startswith("sglang/")
    item = ask(scene.gateway, input="hi").json()["output"][0]["id"]
    scene.home.default = chat_answer(CARD)
    item = ask(scene.gateway, input="what is it?").json()["output"][0]["id"]
    named = [{"type": "item_reference", "id": item}, {"role": "user", "content": "go"}]
    assert ask(scene.gateway, input=named, model=GPT).status_code == 403
    assert scene.outside.requests == []


def ask_as(gateway: RunningGateway, data_class: str, **body: Any) -> httpx.Response:
    """One request whose caller says what it is."""
    sent = {"authorization": f"Bearer {gateway.key}", "x-data-class": data_class}
    return gateway.client.post("/v1/responses", json={"input": "go on"} | body, headers=sent)


def test_the_class_of_a_conversation_is_never_lowered(scene: Scene) -> None:
    """What was restricted in one turn, by a word of the caller's, is so in all that go on from it or name an item of
    it, also two turns later and by another key of the team."""
    scene.home.default = chat_answer("noted")
    scene.outside.default = plain(native(MESSAGE))
    first = ask_as(scene.gateway, "restricted", model="auto", input="the plan is Heron").json()
    item = {"type": "item_reference", "id": first["output"][0]["id"]}
    named = [item, {"role": "user", "content": "go"}]
    second = ask_as(scene.gateway, "public", model=HOME, previous_response_id=first["id"]).json()
    for body in (
        {"previous_response_id": first["id"]},
        {"previous_response_id": second["id"]},
        {"previous_response_id": second["id"], "store": False},
        {"input": named},
    ):
        assert ask_as(scene.gateway, "public", model=GPT, **body).status_code == 403
    assert scene.outside.requests == []
    row = scene.gateway.rows("requests")[-1]
    assert row["data_class"] == "restricted"
    third = ask(scene.gateway, model=HOME, input=named).json()["id"]
    assert ask(scene.gateway, model=GPT, previous_response_id=third).status_code == 403
    open_one = ask_as(scene.gateway, "internal", model=HOME).json()["id"]
    assert ask(scene.gateway, model=GPT, previous_response_id=open_one).status_code == 200


@pytest.mark.parametrize(
    "head", ['"type":"item\\u005freference",', '"type":null,', '"type":"",', ""]
)
def test_a_reference_is_one_in_any_spelling(scene: Scene, head: str) -> None:
    """What OpenAI would read as the name of an item stands for a kept one, or for nothing."""
    scene.home.default = chat_answer("the plan")
    item = ask(scene.gateway).json()["output"][0]["id"]
    for name, status in ((item, 200), ("msg_at_the_provider", 400), ("msg\\u0000", 400)):
        raw = f'{{"model":"{HOME}","input":[{{{head}"id":"{name}"}},{{"role":"user","content":"x"}}]}}'
        sent = {"authorization": f"Bearer {scene.gateway.key}", "content-type": "application/json"}
        answer = scene.gateway.client.post("/v1/responses", content=raw, headers=sent)
        assert answer.status_code == status
    assert last(scene.home)["messages"][0]["content"] == "the plan"


def test_an_item_named_many_times_is_measured_first(scene: Scene) -> None:
    """Sixteen thousand times a megabyte is told as too large, before it takes the memory of the machine."""
    scene.home.default = chat_answer("x" * 1_000_000)
    item = {"type": "item_reference", "id": ask(scene.gateway).json()["output"][0]["id"]}
    refused = ask(scene.gateway, input=[item] * 16_000)
    assert (refused.status_code, refused.headers["x-moegate-error"]) == (413, "too_large")
    crowd = [item | {"id": f"msg_{at}"} for at in range(1025)]
    assert ask(scene.gateway, input=crowd).status_code == 400


def test_content_is_sealed(scene: Scene) -> None:
    """Neither question nor answer stands in the database in the clear."""
    scene.home.default = chat_answer("otters at noon")
    assert ask(scene.gateway, input="where are the otters?").status_code == 200
    [row] = scene.gateway.rows("kept_responses")
    assert b"otters" not in row["sealed"]
    for file in scene.gateway.settings.home.rglob("*"):
        assert not file.is_file() or b"otters" not in file.read_bytes()


def test_a_cached_answer_is_kept_like_any_other(scene: Scene) -> None:
    """The same question of another team is a hit, and goes on from there."""
    scene.home.default = chat_answer("a")
    ask(scene.gateway, temperature=0)
    other = scene.gateway.make_key(NewKey("others"))
    hit = next(
        answer for _ in range(200)
        if (answer := ask(scene.gateway, other, temperature=0)).headers["x-moegate-cache"] == "hit"
    )  # fmt: skip
    response_id = hit.json()["id"]
    assert look(scene.gateway, response_id, other).json() == hit.json()
    assert ask(scene.gateway, other, previous_response_id=response_id).status_code == 200


def test_conversations_have_a_bound(tmp_path: Path) -> None:
    """A conversation grows to the largest body and no further, and the error says how large it is."""
    with running_upstream() as outside, running_upstream() as home:
        environ = two_sided(outside, home) | {"MOEGATE_BODY_BYTES_MAX": "20000"}
        with running_gateway(tmp_path / "home", environ) as gateway:
            home.default = chat_answer("a")
            first = ask(gateway, input="x" * 15_000).json()["id"]
            refused = ask(gateway, input="y" * 15_000, previous_response_id=first)
            assert (refused.status_code, refused.headers["x-moegate-error"]) == (413, "too_large")
            assert "previous_response_id" in refused.json()["error"]["message"]


@pytest.fixture(params=["asked", "never"])
def reserved(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[str, Scene]]:
    """A gateway that keeps less."""
    with running_upstream() as outside, running_upstream() as home:
        environ = two_sided(outside, home) | {"MOEGATE_RESPONSES_KEPT": request.param}
        with running_gateway(tmp_path / "home", environ) as gateway:
            home.default = chat_answer("a")
            yield request.param, Scene(gateway, outside, home)


def test_an_administrator_decides_what_is_kept(reserved: tuple[str, Scene]) -> None:
    """Only what is asked for, or nothing; a wish that is not granted is listed, and refused if strict."""
    keeping, scene = reserved
    assert ask(scene.gateway).json()["store"] is False
    assert scene.gateway.rows("kept_responses") == []
    wished = ask(scene.gateway, store=True)
    assert wished.json()["store"] is (keeping == "asked")
    assert ("store" in wished.headers.get("x-moegate-dropped", "")) is (keeping == "never")
    strict = scene.gateway.client.post(
        "/v1/responses", json={"model": HOME, "input": "hi", "store": True},
        headers={"authorization": f"Bearer {scene.gateway.key}", "x-moegate-strict": "true"},
    )  # fmt: skip
    assert strict.status_code == (200 if keeping == "asked" else 400)


def test_kept_responses_expire(tmp_path: Path) -> None:
    """After their days they are not found; going on from one in time gives all of the conversation new days."""
    ahead = [0.0]
    clock = Clock(now=lambda: time.time() + ahead[0])
    with (
        running_upstream() as outside,
        running_upstream() as home,
        running_gateway(tmp_path / "home", two_sided(outside, home), clock) as gateway,
    ):
        home.default = chat_answer("a")
        first = ask(gateway).json()["id"]
        alone = ask(gateway).json()["id"]
        ahead[0] = 29 * 86_400.0
        second = ask(gateway, previous_response_id=first).json()["id"]
        ahead[0] = 31 * 86_400.0
        assert look(gateway, alone).status_code == 404
        assert look(gateway, first).status_code == look(gateway, second).status_code == 200
        assert ask(gateway, previous_response_id=second).status_code == 200


def test_other_ways_to_ask(scene: Scene) -> None:
    """What cannot be done says so in OpenAI's form."""
    scene.home.default = chat_answer("a")
    response_id = ask(scene.gateway).json()["id"]
    assert look(scene.gateway, f"{response_id}?stream=true").status_code == 400
    assert look(scene.gateway, f"{response_id}/cancel", verb="POST").status_code == 400
    assert look(scene.gateway, "resp_never/cancel", verb="POST").status_code == 404
    assert look(scene.gateway, response_id, "mg-wrong").status_code == 401
    assert look(scene.gateway, "%00").status_code == 404
    wrong = look(scene.gateway, response_id, verb="PUT")
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (405, "invalid_request_error")


def test_an_answer_that_cannot_be_kept_says_so(scene: Scene) -> None:
    """SQL stuck: the answer goes out all the same, told as not kept; what goes on from another is to come back."""
    scene.home.default = chat_answer("a")
    first = ask(scene.gateway).json()["id"]
    path = scene.gateway.settings.database_url.partition(":///")[2]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        answer = ask(scene.gateway)
        assert time.monotonic() - began < KEEP_SECONDS + 2
        assert answer.status_code == 200
        assert answer.headers["x-moegate-dropped"] == "store"
        other.execute("ROLLBACK")
    assert look(scene.gateway, answer.json()["id"]).status_code == 404
    assert look(scene.gateway, first).status_code == 200
    row = next(
        row for row in scene.gateway.rows("requests")
        if row["request_id"] == answer.headers["x-moegate-request-id"]
    )  # fmt: skip
    assert (row["state"], row["dropped"]) == ("answered", "store")
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("ALTER TABLE kept_responses RENAME TO elsewhere")
    away = ask(scene.gateway, previous_response_id=first)
    assert (away.status_code, away.headers["x-moegate-error"]) == (503, "overloaded")
    assert look(scene.gateway, first).status_code == 503
