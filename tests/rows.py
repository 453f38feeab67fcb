"""Rows of the accounts for tests."""

import msgspec

from gateway.ledger.rows import AttemptRow, AttemptState, RequestRow


def attempt(name: str, state: AttemptState = "open", cost: int = 0) -> AttemptRow:
    """An attempt with a bound of 1000."""
    row = AttemptRow(
        attempt_id=name, request_id="r", organisation_id="o", team_id="t", key_id="k",
        day="2026-11-23", ordinal=1, target="x", provider="p", model="m", started_at=1.5,
        reserved_nanousd=1000, cost_nanousd=cost,
    )  # fmt: skip
    return msgspec.structs.replace(row, state=state)


def request(name: str) -> RequestRow:
    """A request."""
    return RequestRow(
        request_id=name, organisation_id="o", team_id="t", key_id="k", day="2026-11-23",
        received_at=1.5, format="openai-chat", request_model="auto", data_class="internal",
        labels=("a", "b"), policy="p@1", decision="{}", state="answered", cache="off",
        is_stream=False, duration_seconds=0.1,
    )  # fmt: skip
