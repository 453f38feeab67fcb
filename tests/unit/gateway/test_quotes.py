"""The sizes that a reservation is made from: a bound, whatever format the prompt is rendered in."""

import json
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.catalogue import load_catalogue
from backends.health import Health
from backends.target import Secret
from backends.wire import anthropic_messages, gemini, openai_chat
from backends.wire.prompt import Prompt
from gateway.facts import media_of, segments
from gateway.observed import Observed
from gateway.quotes import Moment, Signals, Sizes, measure, quote
from policies.facts import COST_NANOUSD_MAX

USER = [{"role": "user", "content": "x"}]
NUMBERS = st.sampled_from(["1e15", "9E15", "1e16", "5e-324", "1.50", "-0.0", "7", "123456789e7"])
LEAVES = NUMBERS | st.sampled_from(['"type"', '"object"', '"\\u006fbject"', "true", "null"])
OBJECTS = st.recursive(
    st.just('{"type":"object"}'),
    lambda inner: st.one_of(
        inner.map(lambda one: f'{{"properties":{{"a":{one}}},"type":"object"}}'),
        st.lists(inner | LEAVES, max_size=6).map(lambda some: f'{{"enum":[{",".join(some)}]}}'),
        st.lists(inner, max_size=4).map(lambda some: f'{{"anyOf":[{",".join(some)}],"minLength":1e15}}'),
    ),
    max_leaves=20,
)  # fmt: skip


def sizes_of(prompt: Prompt) -> Sizes:
    return measure(prompt, segments(prompt), media_of(prompt))


@given(OBJECTS)
def test_a_schema_written_anew_stays_within_the_bound(schema: str) -> None:
    """Numbers get their zeros and objects are closed: no body is longer than what was reserved for."""
    shape = f'{{"type":"json_schema","json_schema":{{"name":"a","schema":{schema}}}}}'
    raw = f'{{"model":"m","messages":{json.dumps(USER)},"response_format":{shape}}}'.encode()
    prompt = openai_chat.parse_request(raw)
    bound = sizes_of(prompt).input_tokens_max
    for render, model in (
        (anthropic_messages.render_request, "claude-opus-5-5"),
        (gemini.render_request, "gemini-3.8-flash"),
    ):
        body = render(prompt, model=model, output_cap=None, output_tokens_default=100).body
        assert len(body) <= bound


def test_a_number_of_any_length_is_measured() -> None:
    """Such as no float holds: nothing is read as one here."""
    schema = f'{{"type":"object","maximum":{"9" * 320}}}'
    tool = f'{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}'
    raw = f'{{"model":"m","messages":{json.dumps(USER)},"tools":[{tool}]}}'.encode()
    assert sizes_of(openai_chat.parse_request(raw)).input_tokens_max >= len(raw)


@pytest.mark.parametrize("place", ["tools", "response_format"])
def test_numbers_do_not_grow_past_the_bound(place: str) -> None:
    """Twenty thousand times `1e15`, which a renderer writes in eighteen characters."""
    schema = f'{{"type":"object","enum":[{",".join(["1e15"] * 20_000)}]}}'
    value = (
        f'[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]'
        if place == "tools"
        else f'{{"type":"json_schema","json_schema":{{"name":"f","schema":{schema}}}}}'
    )
    raw = f'{{"model":"m","messages":{json.dumps(USER)},"{place}":{value}}}'.encode()
    prompt = openai_chat.parse_request(raw)
    assert len(orjson.dumps(orjson.loads(raw))) > 3 * len(raw)
    assert sizes_of(prompt).input_tokens_max >= len(orjson.dumps(orjson.loads(raw)))


@pytest.mark.parametrize(("output", "is_bounded"), [(700_000, True), (900_000, False)])
def test_what_proofs_do_not_count_with_is_no_bound(
    tmp_path: Path, output: int, is_bounded: bool
) -> None:
    """At a dollar a token: proofs look at amounts up to 800,000 dollars, so that more is like a price nobody knows."""
    path = tmp_path / "catalogue.yaml"
    dear = {"price": {"input": 1_000_000, "output": 1_000_000}, "output": output, "tiers": []}
    path.write_text(json.dumps({"targets": {"openai/gpt-5.5": dear}}))
    found = load_catalogue(
        credentials={"openai": Secret("sk")}, base_urls={}, self_hosted=(), overrides=path
    )
    [target] = found.find("openai/gpt-5.5")
    raw = orjson.dumps({"model": "gpt-5.5", "messages": USER})
    now = 1_800_000_000.0
    quoted = quote(
        target,
        sizes_of(openai_chat.parse_request(raw)),
        Signals(Health(), Observed()),
        Moment(now, datetime.fromtimestamp(now, UTC)),
    )
    assert (quoted.worst_case_nanousd is not None) is is_bounded
    assert (quoted.worst_case_nanousd or 0) <= COST_NANOUSD_MAX
