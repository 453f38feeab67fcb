"""What policies cost: an expression beside other engines, a decision, a load, a proof; no server is needed."""

import gc
import itertools
import json
import time
from collections.abc import Callable, Mapping

import cel
import celpy
from celpy.adapter import json_to_cel

from policies.cel import check_types, compile_tree, parse
from policies.cel.python import Value, pack
from policies.check import STAND_INS
from policies.classify import Classifier
from policies.compile import compile_policy
from policies.decide import decide
from policies.document import parse_policy
from policies.facts import Detection, Facts, Quote, TargetFacts
from policies.proofs.verify import Prover

NAME = "policies"
ROUNDS = 7
EXPRESSIONS = (
    '"personal" in labels && request.data_class == "internal" && request.input_tokens > 1000',
    'target.boundary == "self_hosted" || quality > 0.7 || expected_cost_usd <= 0.05',
)
FACTS: Mapping[str, Value] = {
    "labels": frozenset({"personal"}), "request.data_class": "internal", "request.input_tokens": 1200,
    "target.boundary": "external", "quality": 0.5, "expected_cost_usd": 0.01,
}  # fmt: skip
NESTED = {
    "labels": ["personal"], "request": {"data_class": "internal", "input_tokens": 1200},
    "target": {"boundary": "external"}, "quality": 0.5, "expected_cost_usd": 0.01,
}  # fmt: skip


def measure_policies() -> str:
    """A table of microseconds and seconds: the best of some rounds, in which engines take turns."""
    lines = ["| what | CPU |", "|---|---:|"]
    for text in EXPRESSIONS:
        for engine, seconds in measure_expression(text).items():
            lines.append(
                f"| `{text.replace('|', chr(92) + '|')}`, {engine} | {seconds * 1e6:.2f} µs |"
            )
    for case, seconds in measure_decisions().items():
        lines.append(f"| decision, 20 rules, 30 targets, {case} | {seconds * 1e6:.0f} µs |")
    for what, seconds in measure_large().items():
        lines.append(f"| 200 rules, 50 targets: {what} | {seconds:.2f} s |")
    return "\n".join(lines)


def measure_expression(text: str) -> Mapping[str, float]:
    """Seconds an evaluation by ours, by Rust's and by Python's engine."""
    environment = celpy.Environment()
    tree = parse(text)
    check_types(tree)
    closure, rows = compile_tree(tree), pack(FACTS)
    interpreter = environment.program(environment.compile(text))
    activation = {name: json_to_cel(value) for name, value in NESTED.items()}  # pyright: ignore[reportArgumentType]  # JSON
    rust, context = cel.compile(text), cel.Context(variables=NESTED)
    return best(
        {
            "ours": (lambda: closure(*rows), 20_000),
            "Rust CEL": (lambda: rust.execute(context), 5_000),
            "cel-python": (lambda: interpreter.evaluate(activation), 200),
        }
    )


def best(cases: Mapping[str, tuple[Callable[[], object], int]]) -> Mapping[str, float]:
    """CPU seconds a call, the least of ``ROUNDS``."""
    gc.collect()
    gc.freeze()  # As the gateway does once it has started.
    found = dict.fromkeys(cases, float("inf"))
    for _ in range(ROUNDS):
        for name, (call, times) in cases.items():
            started = time.process_time()
            for _ in range(times):
                call()
            found[name] = min(found[name], (time.process_time() - started) / times)
    return found


def targets(count: int) -> tuple[TargetFacts, ...]:
    """A catalogue: every sixth at home, a third in the EU."""
    return tuple(
        TargetFacts(
            name=f"p{at % 5}/m{at}", provider=f"p{at % 5}", model=f"m{at}",
            boundary="external" if at % 6 else "self_hosted", region="us" if at % 3 else "eu",
            capabilities=frozenset({"tools", "images", "json_schema"}), context_tokens_max=200_000 + at,
            output_tokens_max=8000, retention_days=0 if at % 2 else 30, trains_on_inputs=False,
        )
        for at in range(count)
    )  # fmt: skip


WHENS = (
    '"client_data" in labels', 'tenant.residency == "eu"', '"credentials" in labels || "client_data" in labels',
    'request.data_class in ["confidential", "restricted"]', "request.input_tokens > 100000",
    'tenant.team == "legal" && request.is_stream',
)  # fmt: skip
REQUIRES = (
    'target.boundary == "self_hosted"', 'target.region == "eu" || target.boundary == "self_hosted"',
    "target.retention_days == 0", "target.trains_on_inputs == false", 'target.provider != "p9"',
)  # fmt: skip


def policy_text(rules: int) -> str:
    """A document of so many rules, two of them about each target's numbers."""
    constraints = [
        {"name": f"rule {at}", "when": WHENS[at % 6], "require": REQUIRES[at % 5]} for at in range(rules - 2)
    ]  # fmt: skip
    constraints += [
        {"name": "ceiling", "when": "true", "require": "worst_case_cost_usd <= 10.0"},
        {"name": "dear", "when": "true", "require": 'expected_cost_usd <= 5.0 || target.boundary == "self_hosted"'},
    ]  # fmt: skip
    document = {
        "policy": "p", "constraints": constraints,
        "labels": {
            "client_data": {"detect": ["pii.email", "pii.card"]}, "credentials": {"detect": ["secret.*"]},
        },
        "objective": [
            {"minimize": "expected_cost_usd", "subject_to": ['quality >= 0.7 || target.boundary == "self_hosted"']}
        ],
        "invariants": [
            {"never": '"client_data" in labels && target.boundary == "external"'},
            {"never": "worst_case_cost_usd > 10.0"},
            {"always_some_target": 'tenant.residency == "eu"',
             "assuming": "target.healthy && target.capable && worst_case_cost_usd <= 1.0"},
        ],
    }  # fmt: skip
    return json.dumps(document)


def measure_decisions() -> Mapping[str, float]:
    """CPU seconds a decision over all targets, by what was found in the request."""
    catalogue = targets(30)
    policy = compile_policy(parse_policy(policy_text(20), source="bench"), catalogue)
    quotes = {
        target.name: Quote(10**6 + at * 1000, 5 * 10**6 + at, 1.0 + at / 10, quality=0.5 + at / 100)
        for at, target in enumerate(catalogue)
    }

    def call(detection: Detection) -> tuple[Callable[[], object], int]:
        facts = Facts(
            organisation="o", team="t", key="k", residency="", data_class="internal", detection=detection,
            request_model="auto", prefer="policy", needs=frozenset({"tools"}), is_stream=False,
            input_tokens_estimate=1000, output_tokens_max=None, now=0.0, needs_bound=True,
        )  # fmt: skip
        return lambda: decide(policy, facts, None, quotes), 1000

    return best(
        {
            "nothing found": call(Detection()),
            "client data": call(Detection(frozenset({"pii.email"}))),
            "detectors lost": call(Detection(unknown=frozenset({"pii.email", "secret.aws_key"}))),
        }
    )


def measure_large() -> Mapping[str, float]:
    """CPU seconds to load a large policy and to prove it, once, and to prove a small one."""
    text, catalogue, types = policy_text(200), targets(50), Classifier().types
    times = [time.process_time()]
    document = parse_policy(text, source="bench")
    compile_policy(document, catalogue)
    times.append(time.process_time())
    proofs = Prover(document, catalogue, types).prove()
    times.append(time.process_time())
    small = Prover(parse_policy(policy_text(20), source="bench"), STAND_INS, types).prove()
    times.append(time.process_time())
    load, large, little = (after - before for before, after in itertools.pairwise(times))
    verdicts = " ".join(sorted({proof.verdict for proof in (*proofs, *small)}))
    return {"load": load, f"prove 6 claims ({verdicts})": large, "the same of 20 rules": little}
