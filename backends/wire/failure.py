"""Failures and refusals in words that know nothing of HTTP.

One :class:`Failure` travels from wherever something went wrong to the edge, where each client format
renders it as its own error body or, after the first byte, as its own error event. The table from
kind to status and type is each codec's.
"""

from typing import Literal

import msgspec

FailureKind = Literal[
    "invalid_request",
    "unauthenticated",
    "policy_refused",
    "model_not_found",
    "too_large",
    "budget_exhausted",
    "rate_limited",
    "no_target",
    "context_too_long",
    "detector_down",
    "overloaded",
    "upstream_failed",
    "upstream_timeout",
    "internal",
]
"""The stable kinds of ``x-moegate-error``. ``invalid_request`` with ``code`` ``unsupported_media_type``
or ``not_found`` or ``method_not_allowed`` is shown with that HTTP status."""

RETRYABLE_BY_CLIENT: frozenset[FailureKind] = frozenset(
    {"rate_limited", "detector_down", "overloaded", "upstream_failed", "upstream_timeout"}
)
"""The official SDKs retry 408, 409, 429 and >= 500 unless told not to; every other kind says
``x-should-retry: false``."""


class Failure(msgspec.Struct, frozen=True):
    """One reason why there is no (whole) answer.

    ``message`` is for the client: lower case, no full stop, user text in backticks, what was wrong,
    where, what would fix it. ``detail`` is for operators and never leaves the gateway.
    ``param`` is a path in the request's JSON (``messages[1].content``). ``code`` is the format's own
    specific code where its clients look for one. ``retry_after_seconds`` is a hint to the client.
    ``may_have_spent``: tokens may have been billed although there is no answer.
    """

    kind: FailureKind
    message: str
    code: str | None = None
    param: str | None = None
    detail: str | None = None
    retry_after_seconds: float | None = None
    may_have_spent: bool = False
    upstream_status: int | None = None


class WireError(Exception):
    """A request or an answer that cannot be understood; carries the :class:`Failure` to show."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def invalid_request(
    message: str, *, param: str | None = None, code: str | None = None
) -> WireError:
    """The error for input that the client has to change."""
    return WireError(Failure("invalid_request", message, code=code, param=param))
