"""How much of a client's rate is left, in the headers that its format has for it; Google's has none.

Sources: OpenAI's "Rate limits in headers", Anthropic's "Rate limits: response headers" (November 2026).
"""

from datetime import UTC, datetime

import msgspec

from backends.wire.prompt import WireFormat


class Rate(msgspec.Struct, frozen=True):
    """Requests a minute: the ``limit``, how many are ``left``, and when all are there again (seconds since the
    epoch)."""

    limit: int
    left: int
    full_at: float


def rate_headers(format: WireFormat, rate: Rate, now: float) -> list[tuple[bytes, bytes]]:
    """Limit, rest and the time until it is full again, as the clients of ``format`` look for them."""
    if format.startswith("openai"):
        seconds = max(1, round(rate.full_at - now))
        names = (b"x-ratelimit-%b-requests" % word for word in (b"limit", b"remaining", b"reset"))
        until = b"%ds" % seconds
    elif format == "anthropic-messages":
        names = (
            b"anthropic-ratelimit-requests-%b" % word for word in (b"limit", b"remaining", b"reset")
        )
        until = datetime.fromtimestamp(rate.full_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    else:
        return []
    values = (b"%d" % rate.limit, b"%d" % rate.left, until)
    return list(zip(names, values, strict=True))
