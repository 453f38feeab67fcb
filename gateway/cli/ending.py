"""How a request ended, in words: for ``moegate policy explain``."""

from collections.abc import Mapping
from decimal import Decimal

from backends.wire.failure import EXPLANATIONS
from gateway.ledger.lookup import BookedRequest

MEANINGS: Mapping[str, str] = {kind: meaning for kind, (meaning, _help) in EXPLANATIONS.items()}


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
