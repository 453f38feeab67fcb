"""Why a past request went where it went, what would have let it pass, and how it ended: for commands and the API.

Promises: what would pass is decided again, under the version that decided then. Where that version, a target that was
in question, or the decision itself does not come back, it is said that it cannot be told; nothing is guessed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from backends.catalogue import Catalogue
from backends.wire.failure import EXPLANATIONS
from gateway.decision_record import DecisionRecord, parse_decision
from gateway.ledger.lookup import BookedRequest
from gateway.ledger.tables import keys
from gateway.policy_store import find_labelled
from gateway.routing import UNPROVEN
from gateway.targets import find_targets
from policies.compile import compile_policy
from policies.decide import decide
from policies.document import PolicyDocument, PolicyError
from policies.explain import explain
from policies.facts import DATA_CLASSES, DataClass, Decision
from policies.inherit import label_version
from policies.remedies import Remedy, what_would_pass

NAMES_SHOWN = 5
NONE_FOUND = "no single change that was tried would do"
MEANINGS: Mapping[str, str] = {kind: meaning for kind, (meaning, _help) in EXPLANATIONS.items()}


@dataclass(frozen=True, slots=True)
class Ways:
    """What would have let a refused request pass. ``unknown``: why that cannot be told; ``note``: what to bear in
    mind."""

    remedies: tuple[Remedy, ...] = ()
    unknown: str = ""
    note: str = ""

    def lines(self) -> list[str]:
        """For people."""
        if self.unknown:
            return ["would pass", f"  it cannot be told: {self.unknown}"]
        shown = [f"  {remedy}" for remedy in self.remedies] or [f"  {NONE_FOUND}"]
        return ["would pass", *shown, *([f"  ({self.note})"] if self.note else [])]

    def to_json(self) -> dict[str, object]:
        """For programs: ``would_pass`` is null where it cannot be told, and the note says why."""
        ways = None if self.unknown else [msgspec.to_builtins(one) for one in self.remedies]
        return {"would_pass": ways, "would_pass_note": self.unknown or self.note}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A request that ended. ``ways`` None: some target was allowed to take it."""

    booked: BookedRequest
    record: DecisionRecord
    ways: Ways | None

    def to_text(self) -> str:
        """For people."""
        record = self.record
        parts = [explain(record.decision, record.facts, record.quotes, record.passed_over)]
        if self.ways is not None:
            parts.append("\n".join(self.ways.lines()))
        return "\n\n".join([*parts, describe_ending(self.booked)])

    def to_json(self) -> dict[str, object]:
        """For programs: the row of the request with its attempts, and the record of its decision."""
        booked = self.booked
        said = {**booked.fields, "attempts": booked.attempts, **orjson.loads(booked.decision)}
        return said if self.ways is None else said | self.ways.to_json()


def is_refused(booked: BookedRequest) -> bool:
    """Whether the decision left no target: then :func:`explain_booked` wants a catalogue."""
    return not parse_decision(booked.decision).decision.kept


async def explain_booked(
    engine: AsyncEngine, booked: BookedRequest, catalogue: Catalogue | None
) -> Explanation:
    """Explain a request; ``catalogue`` has the targets as they are now, for one that was refused."""
    record = parse_decision(booked.decision)
    if record.decision.kept or catalogue is None:
        return Explanation(booked, record, None)
    return Explanation(booked, record, await _find_ways(engine, booked, record, catalogue))


async def _find_ways(
    engine: AsyncEngine, booked: BookedRequest, record: DecisionRecord, catalogue: Catalogue
) -> Ways:
    label = record.decision.policy
    try:
        document = await find_labelled(engine, label.removesuffix(UNPROVEN))
    except PolicyError:
        return Ways(unknown=f"this release cannot read the policy `{label}`")
    if document is None:
        return Ways(unknown=f"the policy `{label}` is not in the history")
    least = await _find_class(engine, booked, record.facts.data_class)
    return await asyncio.to_thread(_decide_again, document, record, catalogue, least)


async def _find_class(
    engine: AsyncEngine, booked: BookedRequest, otherwise: DataClass
) -> DataClass:
    """The class of the key that asked, below which nothing is suggested."""
    query = select(keys.c.data_class).where(keys.c.key_id == booked.fields["key_id"])
    async with engine.connect() as connection:
        said = (await connection.execute(query)).scalar()
    for known in DATA_CLASSES:
        if known == said:
            return known
    return otherwise


def _decide_again(
    document: PolicyDocument, record: DecisionRecord, catalogue: Catalogue, least: DataClass
) -> Ways:
    before, targets = record.decision, find_targets(catalogue)
    positions = {one.name: at for at, one in enumerate(targets)}
    gone = [f"`{name}`" for name in record.quotes if name not in positions]
    if gone:
        more = f" and {len(gone) - NAMES_SHOWN} more" if len(gone) > NAMES_SHOWN else ""
        return Ways(unknown=f"targets that were in question are gone: {', '.join(gone[:NAMES_SHOWN])}{more}")  # fmt: skip
    suffix = UNPROVEN if before.policy.endswith(UNPROVEN) else ""
    policy = compile_policy(
        document,
        targets,
        version=label_version(document) + suffix,
        held_back=frozenset(one.target for one in before.struck if one.by == "proof"),
    )
    candidates = [positions[name] for name in record.quotes]
    again = decide(policy, record.facts, candidates, record.quotes)
    if _outline(again) != _outline(before):
        words = "decided again with the targets and the release of now, it comes out otherwise"
        return Ways(unknown=words)
    remedies = what_would_pass(policy, record.facts, candidates, record.quotes, least)
    notes: list[str] = []
    if record.catalogue != catalogue.version:
        notes.append("with the targets as they are now")
    if suffix and remedies:
        # A record tells who was held back only of those that nothing else struck.
        notes.append("the policy was not proved: a target may have been held back for that alone")
    return Ways(remedies, note="; ".join(notes))


def _outline(decision: Decision) -> tuple[object, ...]:
    """What has to come out again: not the words of the reasons, which a release may change."""
    struck = frozenset((one.target, one.by, one.constraint) for one in decision.struck)
    kept = tuple(one.target for one in decision.kept)
    return decision.policy, decision.labels, decision.unknown_labels, kept, struck


def describe_ending(request: BookedRequest) -> str:
    """Several lines: outcome, what it cost, and each attempt with its end and its cost."""
    fields = request.fields
    ended = str(fields["state"])
    if error := fields["error"]:
        ended += f", {error}"
        if meaning := MEANINGS.get(str(error)):
            ended += f": {meaning}"
    lines = [f"ended      {ended}", f"cost       {_usd(fields['cost_nanousd'])}"]
    lines.append("attempts" if request.attempts else "attempts   none")
    return "\n".join([*lines, *(_describe_attempt(attempt) for attempt in request.attempts)])


def _describe_attempt(attempt: Mapping[str, object]) -> str:
    parts = [attempt["state"], attempt["failure"]]
    if attempt["upstream_status"] is not None:
        parts.append(f"status {attempt['upstream_status']}")
    parts += [attempt["finish_reason"], _usd(attempt["cost_nanousd"])]
    words = ", ".join(str(part) for part in parts if part)
    bound = " (its bound)" if attempt["state"] == "in_doubt" else ""
    return f"{attempt['ordinal']:>3}. {attempt['target']}: {words}{bound}"


def _usd(nanousd: object) -> str:
    return f"{Decimal(str(nanousd)).scaleb(-9):.9f} USD"
