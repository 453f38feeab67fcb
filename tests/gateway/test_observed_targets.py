"""What calls have shown of targets stands in the decisions that follow."""

from pathlib import Path
from typing import Any

from gateway.decision_record import parse_decision
from gateway.identity import NewKey
from policies.facts import Quote
from tests.gateway_process import RunningGateway, Scene, running_gateway, two_sided
from tests.upstreams import chat_answer, chat_stream, running_upstream

OUT = "openai/gpt-5.5"
LONG = "a long text " * 500
USAGE: dict[str, object] = {
    "prompt_tokens": 1500, "completion_tokens": 40, "total_tokens": 1540,
    "prompt_tokens_details": {"cached_tokens": 1400},
}  # fmt: skip


def quotes(gateway: RunningGateway) -> list[Quote]:
    """The numbers of the host outside in each decision, the first first."""
    rows = sorted(gateway.rows("requests"), key=lambda row: row["received_at"])
    return [parse_decision(row["decision"]).quotes[OUT] for row in rows]


def test_a_conversation_costs_less_where_it_is_held(scene: Scene) -> None:
    """After the host has charged a prefix as read from its cache; another organisation's does not count."""
    gateway = scene.gateway
    scene.outside.default = chat_answer(usage=USAGE)
    other = gateway.make_key(NewKey("t", organisation="other"))
    for number in range(3):
        assert gateway.say(LONG, model=OUT, n=1, seed=number).status_code == 200
    assert gateway.say(LONG, model=OUT, authorization=f"Bearer {other}").status_code == 200
    first, second, third, foreign = quotes(gateway)
    assert (first.cached_tokens, second.cached_tokens) == (0, 0)
    assert 1300 < third.cached_tokens <= 1500
    assert foreign.cached_tokens == 0
    assert third.expected_cost_nanousd < second.expected_cost_nanousd  # pyright: ignore[reportOperatorIssue]
    assert third.worst_case_nanousd == second.worst_case_nanousd, "a bound counts on no cache"


def test_lengths_of_answers_are_expected_again(scene: Scene) -> None:
    """A host that says little is cheaper than the usual answer; what broke off says nothing of lengths."""
    gateway = scene.gateway
    scene.outside.default = chat_answer(usage=USAGE)
    for _twice in range(2):
        gateway.say("hi", model=OUT)
    first, second = quotes(gateway)
    assert second.expected_cost_nanousd < first.expected_cost_nanousd  # pyright: ignore[reportOperatorIssue]


def test_the_wait_of_streams_is_known(scene: Scene) -> None:
    """From the call to its first piece, also of one that broke off later."""
    gateway = scene.gateway
    assert stream(gateway, scene, fault="") is not None
    assert stream(gateway, scene, fault="cut") is not None
    first, second = quotes(gateway)
    assert first.expected_ttft_seconds is None
    assert second.expected_ttft_seconds is not None
    assert 0 < second.expected_ttft_seconds < 2
    observed = gateway.runtime.services.signals.observed
    assert observed.expected_output(OUT, None) is not None


def stream(gateway: RunningGateway, scene: Scene, fault: Any) -> Any:
    scene.outside.script.append(chat_stream(fault=fault))
    body = {"model": OUT, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    return gateway.chat(body)


def test_quality_is_that_of_the_task(tmp_path: Path) -> None:
    """The one measured for it, else that of all; a word that is none is refused."""
    path = tmp_path / "catalogue.yaml"
    path.write_text(f"targets: {{{OUT}: {{quality: {{default: 0.6, code: 0.9}}}}}}\n")
    with running_upstream() as outside, running_upstream() as home:
        outside.default = chat_answer()
        environ = two_sided(outside, home) | {"MOEGATE_CATALOGUE": str(path)}
        with running_gateway(tmp_path / "home", environ) as gateway:
            for task in ("code", "poems", None):
                more = {} if task is None else {"x_moegate_task": task}
                assert gateway.say(model=OUT, x_moegate_cache="off", **more).status_code == 200
            refused = gateway.say(model=OUT, x_moegate_task="Write Code")
            assert (refused.status_code, refused.json()["error"]["param"]) == (
                400,
                "x-moegate-task",
            )
            assert [one.quality for one in quotes(gateway)[:3]] == [0.9, 0.6, 0.6]
