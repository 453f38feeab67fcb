"""Replay: recorded decisions under another policy, counted without guessing."""

import dataclasses
import json
import math
import random
import statistics
from collections import Counter

import msgspec
import pytest

from policies.compile import CompiledPolicy, compile_policy
from policies.decide import decide
from policies.document import parse_policy
from policies.facts import Detection, Facts, Quote, TargetFacts
from policies.recorded import FORM, Recorded
from policies.replay import EXAMPLES_MAX, REFUSED, Change, Replay, share_interval
from tests.unit.policies.worlds import make_policy

NOW = {"pii.email": "e1", "pii.card": "c1", "secret.aws_key": "a1"}
KNOWN = {
    "v1": NOW,
    "v0": {"pii.email": "e1"},
    "v0.5": NOW | {"secret.aws_key": "a0"},
    "v2": NOW | {"secret.github": "g1"},
}
HOME = 'target.boundary == "self_hosted"'


def target(name: str, boundary: str) -> TargetFacts:
    shape = {"provider": "p", "model": "m", "region": "eu", "capabilities": []}
    limits = {"context_tokens_max": 100_000, "output_tokens_max": 1000}
    return msgspec.convert({"name": name, "boundary": boundary, **shape, **limits}, TargetFacts)


CATALOGUE = (target("home", "self_hosted"), target("cheap", "external"), target("dear", "external"))
QUOTES = {
    "home": Quote(0, 0, 2.0, quality=0.5),
    "cheap": Quote(10, 100, 1.0, quality=0.5),
    "dear": Quote(100, 1000, 0.5),
}
FACTS = Facts(
    organisation="o", team="t", key="k", residency="", data_class="internal",
    detection=Detection(detectors="v1"), request_model="auto", prefer="policy", needs=frozenset(),
    is_stream=False, input_tokens_estimate=10, output_tokens_max=None, now=0.0,
)  # fmt: skip
CHEAPEST_AWAY = make_policy(
    CATALOGUE, [{"require": 'target.boundary == "external"'}], [{"minimize": "expected_cost_usd"}]
)
DEAREST = make_policy(
    CATALOGUE, [{"require": 'target.boundary == "external"'}], [{"maximize": "expected_cost_usd"}]
)
ALL_HOME = make_policy(CATALOGUE, [{"require": HOME}])
BY_LABEL = make_policy(CATALOGUE, [{"require": HOME, "when": '"credentials" in labels'}])


def record(
    policy: CompiledPolicy, facts: Facts = FACTS, quotes: dict[str, Quote] | None = None
) -> Recorded:
    """What the gateway writes down, as a replay reads it back."""
    quotes = QUOTES if quotes is None else quotes
    positions = [at for at, one in enumerate(policy.targets) if one.name in quotes]
    decision = decide(policy, facts, positions, quotes)
    said = {"facts": facts, "quotes": quotes, "decision": decision, "catalogue": "c", "form": FORM}
    return msgspec.json.decode(msgspec.json.encode(said), type=Recorded)


def test_own_records_move_nothing() -> None:
    """Facts decided again under the policy that decided them come out as they did."""
    replay = Replay(CHEAPEST_AWAY, KNOWN, NOW)
    for at in range(5):
        replay.add(str(at), record(CHEAPEST_AWAY))
    assert (replay.decided, replay.moved, replay.examples()) == (5, 0, [])
    assert (replay.cost.mean, replay.cost.margin) == (0.0, 0.0)


def test_differences_are_as_worked_by_hand() -> None:
    """Two requests cost 90 more, one the same: mean 60, deviation √2700, over √3."""
    replay = Replay(DEAREST, KNOWN, NOW)
    for at in range(2):
        replay.add(str(at), record(CHEAPEST_AWAY))
    replay.add("2", record(CHEAPEST_AWAY, quotes={"cheap": QUOTES["cheap"]}))
    assert replay.moves == {("cheap", "dear"): 2, ("cheap", "cheap"): 1}
    assert replay.cost.mean == pytest.approx(60)
    assert replay.cost.margin == pytest.approx(1.959964 * math.sqrt(2700) / math.sqrt(3))
    assert (replay.quality.asked, replay.quality.known) == (3, 1)
    assert replay.latency.mean == pytest.approx(-1 / 3)


def test_report_is_as_counted_naively() -> None:
    """Five hundred requests with random candidates and numbers, each list made anew and summed up at the end."""
    dice = random.Random(11)  # no secrets: the same requests each time
    replay = Replay(DEAREST, KNOWN, NOW)
    pairs: list[tuple[str, str]] = []
    changes: dict[str, list[float]] = {"cost": [], "wait": [], "quality": []}
    for at in range(500):
        quotes = {
            name: Quote(dice.randrange(100), 0, dice.choice([None, 1.5, 2.5]), quality=0.25)
            for name in dice.sample(["home", "cheap", "dear"], dice.randint(1, 3))
        }
        recorded = record(dice.choice([CHEAPEST_AWAY, ALL_HOME]), quotes=quotes)
        replay.add(f"r{at}", recorded)
        then = recorded.decision.kept[0].target if recorded.decision.kept else REFUSED
        positions = [at for at, one in enumerate(CATALOGUE) if one.name in quotes]
        kept = decide(DEAREST, recorded.facts, positions, quotes).kept
        now = kept[0].target if kept else REFUSED
        pairs.append((then, now))
        if REFUSED in (then, now):
            continue
        old, new = quotes[then], quotes[now]
        changes["cost"].append((new.expected_cost_nanousd or 0) - (old.expected_cost_nanousd or 0))
        changes["quality"].append(0.0)
        if old.expected_ttft_seconds is not None and new.expected_ttft_seconds is not None:
            changes["wait"].append(new.expected_ttft_seconds - old.expected_ttft_seconds)
    assert replay.moves == Counter(pairs)
    assert replay.moved == sum(then != now for then, now in pairs)
    assert replay.newly_refused == sum(then != REFUSED == now for then, now in pairs)
    assert replay.newly_allowed == sum(then == REFUSED != now for then, now in pairs)
    assert min(replay.newly_refused, replay.newly_allowed, len(changes["wait"])) > 10
    found = {"cost": replay.cost, "wait": replay.latency, "quality": replay.quality}
    for name, change in found.items():
        values = changes[name]
        assert change.asked == len(changes["cost"])
        assert (change.known, change.total) == (len(values), sum(values))
        assert change.mean == pytest.approx(statistics.mean(values))
        margin = 1.959964 * statistics.stdev(values) / math.sqrt(len(values))
        assert change.margin == pytest.approx(margin)


def test_interval_of_large_numbers_keeps_its_digits() -> None:
    """Costs of a thousand dollars that differ by a nano-dollar: sums of squares would have lost them."""
    change = Change()
    for at in range(1000):
        change.add(0, 10**12 + at % 2)
    assert change.margin == pytest.approx(1.959964 * math.sqrt(0.25 * 1000 / 999 / 1000), rel=1e-3)
    assert change.total == 10**15 + 500


@pytest.mark.parametrize(
    ("count", "whole", "low", "high"),
    [(10, 100, 0.0552, 0.1744), (0, 40, 0.0, 0.0876), (40, 40, 0.9124, 1.0), (0, 0, 0.0, 1.0)],
)
def test_interval_of_a_share_is_wilsons(count: int, whole: int, low: float, high: float) -> None:
    """As published tables have it; none is below nothing or above all."""
    assert share_interval(count, whole) == pytest.approx((low, high), abs=1e-4)


def test_refused_and_allowed_are_places_of_their_own() -> None:
    """One who has no target now, and one who had none then: neither counts for the cost."""
    away = {"cheap": QUOTES["cheap"]}
    replay = Replay(ALL_HOME, KNOWN, NOW)
    replay.add("out", record(CHEAPEST_AWAY, quotes=away))
    back = {"home": QUOTES["home"]}
    replay.add("in", record(CHEAPEST_AWAY, quotes=back))
    assert (replay.newly_refused, replay.newly_allowed, replay.cost.asked) == (1, 1, 0)
    said = {one.request_id: one for one in replay.examples()}
    assert (said["out"].before, said["out"].after) == ("cheap", REFUSED)
    assert said["out"].reason
    assert said["in"].reason.startswith("then: ")


def test_moves_over_the_boundary_are_counted_by_class_and_label() -> None:
    """A prompt with credentials that went out would stay at home."""
    found = Detection(found=frozenset({"secret.aws_key"}), detectors="v1")
    replay = Replay(BY_LABEL, KNOWN, NOW)
    replay.add("r", record(CHEAPEST_AWAY, msgspec.structs.replace(FACTS, detection=found)))
    assert (replay.outward, replay.homeward) == (0, 1)
    way = "external → self_hosted"
    assert replay.crossings == {
        (way, "class", "internal"): 1,
        (way, "label", "credentials"): 1,
    }


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("v0", "label `credentials` needs `secret.aws_key`, which was not looked for then"),
        (
            "v0.5",
            "label `credentials` needs `secret.aws_key`, which was looked for by other rules then",
        ),
        ("v2", "label `credentials` needs `secret.github`, which is not looked for any more"),
        ("v9", "this release does not know what the detectors `v9` looked for"),
    ],
)
def test_types_that_were_not_looked_for_are_not_guessed(version: str, reason: str) -> None:
    """A label of a detector that did not run then leaves the request undecided, with the reason."""
    facts = msgspec.structs.replace(FACTS, detection=Detection(detectors=version))
    rules = [{"require": HOME, "when": '"credentials" in labels'}]
    policy = make_policy(CATALOGUE, rules)
    replay = Replay(only_label(policy, "credentials"), KNOWN, NOW)
    replay.add("r", record(CHEAPEST_AWAY, facts))
    assert dict(replay.undecidable) == {reason: 1}
    assert (replay.decided, replay.moves) == (0, {})


def test_older_detectors_decide_where_they_looked_in_the_same_way() -> None:
    """What they did not look for, or in another way, does not matter to a policy that does not name it."""
    for version in ("v0", "v0.5", "v2"):
        facts = msgspec.structs.replace(FACTS, detection=Detection(detectors=version))
        document = {"policy": "p", "labels": {"mails": {"detect": ["pii.email"]}}}
        policy = compile_policy(parse_policy(json.dumps(document), source="test"), CATALOGUE)
        replay = Replay(policy, KNOWN, NOW)
        replay.add("r", record(CHEAPEST_AWAY, facts))
        assert (replay.decided, dict(replay.undecidable)) == (1, {})


def test_other_catalogue_is_counted() -> None:
    """Prices of then are in the record; what targets are is what they are now, and the report says of how many."""
    replay = Replay(CHEAPEST_AWAY, KNOWN, NOW, "c")
    replay.add("same", record(CHEAPEST_AWAY))
    assert replay.other_catalogue == 0
    replay.add("other", msgspec.structs.replace(record(CHEAPEST_AWAY), catalogue="b"))
    assert (replay.decided, replay.other_catalogue) == (2, 1)


def only_label(policy: CompiledPolicy, name: str) -> CompiledPolicy:
    """``policy`` with this one label."""
    return dataclasses.replace(
        policy, labels=tuple(one for one in policy.labels if one.name == name)
    )


def test_vanished_target_leaves_the_request_undecided() -> None:
    """A recorded candidate that the catalogue does not hold is not taken for struck."""
    replay = Replay(make_policy(CATALOGUE[:2], []), KNOWN, NOW)
    replay.add("r", record(CHEAPEST_AWAY))
    assert dict(replay.undecidable) == {"`dear` is not in the catalogue any more": 1}


def test_examples_are_ten_and_of_every_kind() -> None:
    """A single refusal is told first, however many others cost more."""
    replay = Replay(ALL_HOME, KNOWN, NOW)
    for at in range(50):
        replay.add(f"m{at:02}", record(CHEAPEST_AWAY))
    replay.add("refused", record(CHEAPEST_AWAY, quotes={"cheap": QUOTES["cheap"]}))
    examples = replay.examples()
    assert len(examples) == EXAMPLES_MAX
    assert examples[0].request_id == "refused"
    assert {one.before for one in examples[1:]} == {"cheap"}
