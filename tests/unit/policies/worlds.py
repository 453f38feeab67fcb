"""Random catalogues, policies and requests for the tests of decisions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from policies.compile import CompiledPolicy, compile_policy
from policies.document import parse_policy
from policies.facts import DATA_CLASSES, Detection, Facts, Quote, TargetFacts

TYPES = ("pii.email", "pii.card", "secret.aws_key", "secret.github_token")
LABELS: dict[str, dict[str, Any]] = {
    "personal": {"detect": ["pii.email", "pii.card"]},
    "credentials": {"detect": ["secret.*"]},
    "confidential": {"when": 'request.data_class in ["confidential", "restricted"]'},
}
CONDITIONS = (
    '"personal" in labels', '"credentials" in labels', '"confidential" in labels',
    '!("personal" in labels)', "size(labels) > 1", "request.input_tokens > 1000",
    "request.is_stream", 'tenant.residency == "eu"', '"images" in request.needs',
    'target.boundary == "external"', "expected_cost_usd > 0.5", "difficulty > 0.5",
)  # fmt: skip
DEMANDS = (
    'target.boundary == "self_hosted"', 'target.region == "eu"', 'target.provider != "openai"',
    "target.retention_days == 0", "target.trains_on_inputs == false", "worst_case_cost_usd <= 1.0",
    "quality >= 0.7", 'target.model.startsWith("m")', '"tools" in target.capabilities',
    '!("personal" in labels) || target.region == "eu"', "target.healthy",
)  # fmt: skip
NUMBERS = ("expected_cost_usd", "worst_case_cost_usd", "quality", "expected_ttft_s")

targets = st.builds(
    TargetFacts,
    name=st.uuids().map(str),
    provider=st.sampled_from(["openai", "anthropic", "own"]),
    model=st.sampled_from(["m-1", "m-2", "other"]),
    boundary=st.sampled_from(["self_hosted", "external"]),
    region=st.sampled_from(["eu", "us", ""]),
    capabilities=st.frozensets(st.sampled_from(["tools", "images", "json_schema"]))
    | st.just(frozenset({"embed"})),
    context_tokens_max=st.sampled_from([1000, 100_000]),
    output_tokens_max=st.just(1000),
    retention_days=st.none() | st.integers(0, 30),
    trains_on_inputs=st.none() | st.booleans(),
)
catalogues = st.lists(targets, min_size=1, max_size=5, unique_by=lambda one: one.name).map(tuple)

constraints = st.lists(
    st.fixed_dictionaries(
        {"require": st.sampled_from(DEMANDS)}, optional={"when": st.sampled_from(CONDITIONS)}
    ),
    max_size=4,
)
objectives = st.lists(
    st.fixed_dictionaries(
        {"minimize": st.sampled_from(NUMBERS)},
        optional={"subject_to": st.lists(st.sampled_from(DEMANDS), max_size=2)},
    ),
    max_size=2,
)
detections = st.builds(
    Detection,
    found=st.frozensets(st.sampled_from(TYPES)),
    unknown=st.just(frozenset[str]()),
    unscannable=st.frozensets(st.sampled_from(["image"])),
)
requests = st.builds(
    Facts,
    organisation=st.just("o"), team=st.just("t"), key=st.just("k"),
    residency=st.sampled_from(["", "eu"]),
    data_class=st.sampled_from(DATA_CLASSES),
    detection=detections,
    request_model=st.just("auto"),
    prefer=st.sampled_from(["policy", "cheap", "best", "private"]),
    needs=st.frozensets(st.sampled_from(["tools", "images", "embed"]), max_size=1),
    is_stream=st.booleans(),
    input_tokens_estimate=st.sampled_from([1, 5000]),
    output_tokens_max=st.none() | st.integers(1, 500),
    now=st.just(0.0),
    needs_bound=st.booleans(),
)  # fmt: skip
costs = st.none() | st.integers(0, 2 * 10**9)
quotes = st.builds(
    Quote,
    expected_cost_nanousd=costs,
    worst_case_nanousd=costs,
    expected_ttft_seconds=st.none() | st.floats(0, 10),
    is_healthy=st.booleans(),
    quality=st.none() | st.floats(0, 1),
)


@st.composite
def worlds(
    draw: st.DrawFn,
) -> tuple[
    tuple[TargetFacts, ...], list[dict[str, Any]], list[dict[str, Any]], Facts, dict[str, Quote]
]:
    """A catalogue, constraints, objectives, a request and quotes."""
    catalogue = draw(catalogues)
    quoted = {target.name: draw(quotes) for target in catalogue}
    return catalogue, draw(constraints), draw(objectives), draw(requests), quoted


def make_policy(
    catalogue: tuple[TargetFacts, ...],
    rules: Sequence[Mapping[str, Any]],
    objective: Sequence[Mapping[str, Any]] = (),
    unscannable: str = "self_hosted",
) -> CompiledPolicy:
    """A policy of these parts; JSON is YAML."""
    document = {
        "policy": "p",
        "labels": LABELS,
        "constraints": [{"name": f"rule {at}", **rule} for at, rule in enumerate(rules)],
        "objective": list(objective),
        "unscannable": unscannable,
    }
    return compile_policy(parse_policy(json.dumps(document), source="test"), catalogue)
