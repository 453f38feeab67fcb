"""P1: prompts that must stay at home do not leave, whatever is up, down or broken."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.identity import NewKey
from tests.gateway_process import Scene, running_gateway, two_sided, wait_for
from tests.upstreams import chat_stream, plain, running_upstream

CARD = "please charge 4111 1111 1111 1111 today"
SECRET = "deploy with AKIAIOSFODNN7EXAMPLA please"


@pytest.mark.parametrize(
    "model", ["auto", "auto:cheap", "auto:best", "openai/gpt-5.5", "gpt-5.4-nano"]
)
@pytest.mark.parametrize("text", [CARD, SECRET])
def test_private_prompt_reaches_no_host_outside(scene: Scene, model: str, text: str) -> None:
    """By any model name a prompt with a card number or a key stays at home, or is refused."""
    answer = scene.gateway.say(text, model)
    assert scene.outside.requests == []
    if model.startswith("auto"):
        assert answer.headers["x-moegate-target"] == "sglang/home-model"
        assert len(scene.home.requests) == 1
    else:
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "no_target"
        assert "confidential stays home" in answer.json()["error"]["message"]


def test_confidential_class_stays_home(scene: Scene) -> None:
    """The caller's class alone is enough."""
    answer = scene.gateway.say("hello", x_data_class="confidential")
    assert answer.headers["x-moegate-target"] == "sglang/home-model"
    assert scene.outside.requests == []


def test_private_prompt_is_refused_while_home_is_down(scene: Scene) -> None:
    """With the self-hosted target down, providers up and listening, nothing reaches them."""
    scene.home.stop()
    for _ in range(4):
        answer = scene.gateway.say(CARD)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1
    streamed = scene.gateway.say(CARD, stream=True)
    assert streamed.status_code == 503
    assert scene.outside.requests == []


def test_failing_home_does_not_fail_over_to_outside(scene: Scene) -> None:
    """Errors, resets and cut streams at home are told to the client, not taken elsewhere."""
    scene.home.script.append(plain({"error": {"message": "boom"}}, status=500))
    scene.home.script.append(plain({"error": {"message": "boom"}}, status=500))
    assert scene.gateway.say(CARD).status_code == 502
    scene.home.script.append(chat_stream(("a",), has_end=False, fault="cut"))
    assert "error" in scene.gateway.say(CARD, stream=True).text
    assert scene.outside.requests == []


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": CARD}, {"role": "user", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": CARD}]}]},
        {"messages": [{"role": "user", "content": "x", "name": "4111111111111111"}]},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"card":"4111111111111111"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "ok"},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": "y"},
                {"role": "tool", "tool_call_id": "c1", "content": CARD},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": "y"},
                {
                    "role": "tool",
                    "tool_call_id": "c1",
                    "content": json.dumps({"csv": "number\n4111 1111 1111 1111\n"}),
                },
            ]
        },
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": {"name": "f", "description": CARD}}],
        },
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "parameters": {"type": "object", "description": CARD},
                    },
                }
            ],
        },
        {"messages": [{"role": "user", "content": "x"}], "user": "4111-1111-1111-1111"},
        {"messages": [{"role": "user", "content": "x"}], "metadata": {"note": CARD}},
        {"messages": [{"role": "user", "content": "x", "nobody_knows_this": {"deep": [CARD]}}]},
        {"messages": [{"role": "user", "content": "x"}], "stop": ["4111111111111111"]},
        {"messages": [{"role": "user", "content": "４１１１ １１１１ １１１１ １１１１"}]},
        {"messages": [{"role": "user", "content": "4111\u200b1111\u200b1111\u200b1111"}]},
    ],
)
def test_private_text_is_found_wherever_it_stands(scene: Scene, body: dict[str, object]) -> None:
    """System prompts, names, tool calls and results, definitions, metadata, unknown members, disguises."""
    answer = scene.gateway.chat({"model": "auto", **body})
    assert scene.outside.requests == []
    assert answer.headers["x-moegate-target"] == "sglang/home-model"


def test_escaped_text_is_read_as_it_is_meant(scene: Scene) -> None:
    """JSON escapes do not hide a number."""
    raw = b'{"model":"auto","messages":[{"role":"user","content":"\\u0034111 1111 1111 1111"}]}'
    headers = {"authorization": f"Bearer {scene.gateway.key}", "content-type": "application/json"}
    answer = scene.gateway.client.post("/v1/chat/completions", content=raw, headers=headers)
    assert answer.headers["x-moegate-target"] == "sglang/home-model"
    assert scene.outside.requests == []


def test_image_url_is_not_fetched_by_a_worker_of_ones_own(scene: Scene) -> None:
    """A worker at home is never made to fetch an address that a prompt names."""
    part = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}
    body = {"model": "sglang/home-model", "messages": [{"role": "user", "content": [part]}]}
    answer = scene.gateway.chat(body)
    assert answer.status_code == 403
    assert scene.home.requests == []


def test_image_goes_where_plain_text_may(scene: Scene) -> None:
    """The first policy lets images leave; beside private text they stay."""
    data = base64.b64encode(b"\x89PNG fake").decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    content = [part, {"type": "text", "text": "what is this?"}]
    body = {"model": "openai/gpt-5.5", "messages": [{"role": "user", "content": content}]}
    assert scene.gateway.chat(body).status_code == 200
    assert len(scene.outside.requests) == 1
    content[1] = {"type": "text", "text": CARD}
    assert scene.gateway.chat(body).status_code == 403
    assert len(scene.outside.requests) == 1


def test_broken_detector_keeps_everything_home(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector that raises makes its labels unknown; only a target that every case keeps is left."""

    def fail(_segments: object) -> None:
        raise RuntimeError("detector")

    classifier = scene.gateway.runtime.services.classifier
    monkeypatch.setattr(classifier, "scan", fail)
    answer = scene.gateway.say("nothing private at all")
    assert answer.headers["x-moegate-target"] == "sglang/home-model"
    refused = scene.gateway.say("nothing private at all", "openai/gpt-5.5")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "detector_down"
    assert scene.outside.requests == []
    # Operators learn of it, and from whom.
    assert "moegate_detector_faults_total 2.0" in scene.gateway.client.get("/metrics").text
    for row in scene.gateway.rows("requests"):
        assert json.loads(row["decision"])["facts"]["detection"]["fault"] == "scan: RuntimeError"


def test_no_prompt_text_in_sql(scene: Scene) -> None:
    """What is recorded of a request holds labels and reasons, and not a word of the prompt."""
    scene.gateway.say(f"{CARD} xyzzy-marker")
    for table in ("requests", "attempts"):
        assert scene.gateway.rows(table)
        for row in scene.gateway.rows(table):
            assert "xyzzy-marker" not in str(row)
            # Eight digits: four of them stand in some time or other of a thousand rows.
            assert "41111111" not in str(row).replace(" ", "")
            assert "sk-test-outside" not in str(row)


def test_cached_answer_is_for_those_who_could_have_got_it(tmp_path: Path) -> None:
    """A team whose prompts stay at home gets nothing that another team fetched outside."""
    document = tmp_path / "policy.yaml"
    document.write_text(
        "policy: by-team\nconstraints:\n  - name: at home\n    when: 'tenant.team == \"inner\"'\n"
        "    require: 'target.boundary == \"self_hosted\"'\n    reason: its prompts stay\n"
        "objective:\n  - maximize: quality\n"
    )
    with running_upstream() as outside, running_upstream() as home:
        environ = two_sided(outside, home) | {"MOEGATE_POLICY": str(document)}
        with running_gateway(tmp_path / "home", environ) as gateway:
            inner = f"Bearer {gateway.make_key(NewKey('inner'))}"
            said: dict[str, Any] = {"model": "auto:best", "temperature": 0}
            wait_for(lambda: gateway.say(**said).headers["x-moegate-cache"] == "hit")
            assert gateway.say(**said).headers["x-moegate-target"].startswith("openai/")
            answer = gateway.say(**said, authorization=inner)
            assert answer.headers["x-moegate-target"] == "sglang/home-model"
