"""What is written down of a request: who asked, what was decided and why, how it ended. No content."""

import msgspec

from gateway.case import Case, Ending
from gateway.decision_record import render_decision
from gateway.ledger.rows import RequestRow


def request_row(case: Case, ending: Ending, seconds: float, *, is_open: bool = False) -> RequestRow:
    """The one row of a client's request; ``is_open`` as long as it may still call."""
    principal, decision = case.principal, case.decision
    failure = ending.failure
    text = ending.decision_json
    if text is None:
        record = case.record
        if ending.passed_over:
            record = msgspec.structs.replace(record, passed_over=ending.passed_over)
        text = render_decision(record)
        if is_open:
            ending.decision_json = text
    return RequestRow(
        request_id=case.request_id,
        organisation_id=principal.organisation_id,
        team_id=principal.team_id,
        key_id=principal.key_id,
        day=case.day,
        received_at=case.received_at,
        format=f"{case.prompt.format}:count" if case.prompt.is_count else case.prompt.format,
        request_model=case.prompt.request_model[:200],
        data_class=case.record.facts.data_class,
        labels=tuple(sorted(decision.labels)),
        policy=decision.policy,
        decision=text,
        state="open" if is_open else ending.state,
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
