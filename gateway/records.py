"""What is written down of a request: who asked, what was decided and why, how it ended. No content."""

import msgspec

from gateway.case import Case, Ending
from gateway.ledger import RequestRow
from policies.facts import Decision, Facts, Quote


class DecisionRecord(msgspec.Struct, frozen=True):
    """The facts a decision was made from and the decision: enough to explain and to repeat it.

    ``catalogue`` is the version of the catalogue; ``quotes`` are prices and health as they stood.
    """

    facts: Facts
    quotes: dict[str, Quote]
    catalogue: str
    decision: Decision


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DecisionRecord)


def parse_decision(text: str | bytes) -> DecisionRecord:
    """The record as stored; raises ``msgspec.DecodeError``."""
    return _decoder.decode(text)


def request_row(case: Case, ending: Ending, seconds: float) -> RequestRow:
    """The one row of a client's request."""
    principal, decision = case.principal, case.decision
    record = DecisionRecord(case.facts, case.quotes, case.routing.catalogue.version, decision)
    failure = ending.failure
    return RequestRow(
        request_id=case.request_id,
        organisation_id=principal.organisation_id,
        team_id=principal.team_id,
        key_id=principal.key_id,
        received_at=case.received_at,
        format=case.prompt.format,
        request_model=case.prompt.request_model[:200],
        data_class=case.facts.data_class,
        labels=tuple(sorted(decision.labels)),
        policy=decision.policy,
        decision=_encoder.encode(record).decode(),
        state=ending.state,
        error=failure.kind if failure is not None else None,
        target=ending.target,
        attempts=ending.attempts,
        cache=ending.cache,
        is_stream=case.prompt.is_stream,
        duration_seconds=seconds,
        first_chunk_seconds=ending.first_chunk_seconds,
        cost_nanousd=ending.cost_nanousd,
        dropped=ending.dropped,
    )
