"""Failures and refusals in words that know nothing of HTTP.

One :class:`Failure` travels from wherever something went wrong to the edge, where each client format
renders it as its own error body or, after the first byte, as its own error event. The table from
kind to status and type is each codec's.
"""

from collections.abc import Mapping
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
or ``not_found``, ``method_not_allowed`` or ``request_timeout`` is shown with that HTTP status."""

EXPLANATIONS: Mapping[FailureKind, tuple[str, str]] = {
    "invalid_request": (
        "the request cannot be understood, or asks for what does not exist",
        "change it; `param` says where",
    ),
    "unauthenticated": ("no key was sent, or one that is unknown or revoked", "send a valid key"),
    "policy_refused": (
        "a member of the request is billed, or sent on, outside of what a policy decides",
        "leave out the member that `param` names",
    ),
    "model_not_found": (
        "no target, model or alias has this name",
        "take one of `GET /v1/models`",
    ),
    "too_large": (
        "the body is larger than the gateway, or the provider, takes",
        "send less, or raise `body_bytes_max`",
    ),
    "budget_exhausted": (
        "the worst case of this request, at any target that policy allows it, does not fit into what is left of the key's budget",
        "set a lower output cap, or ask for more budget",
    ),
    "rate_limited": (
        "the key sent its requests of this minute, or the providers ask to slow down",
        "wait for `retry-after`",
    ),
    "no_target": (
        "the policy, or what the request needs, leaves no target",
        "the message names the constraints, `param` a member that no target takes; "
        "`moegate policy explain` names every target",
    ),
    "context_too_long": ("the prompt is longer than every allowed target takes", "shorten it"),
    "detector_down": (
        "a detector failed, and no target is allowed in every case that it could have found",
        "try again; a prompt that fails each time needs a self-hosted target",
    ),
    "overloaded": (
        "a part that is needed is away for now, or no allowed target is healthy",
        "wait for `retry-after`; operators look at `GET /readyz`",
    ),
    "upstream_failed": (
        "the provider answered with an error, or its answer broke off",
        "try again if `x-should-retry` says so; the log's `detail` is for operators",
    ),
    "upstream_timeout": (
        "the provider did not answer in time",
        "try again if `x-should-retry` says so; the call may have cost something",
    ),
    "internal": (
        "a defect of the gateway",
        "look for the request's id in the log, and report it",
    ),
}
"""What each kind means, and what helps; ``docs/errors.md`` is made of it."""

RETRYABLE_BY_CLIENT: frozenset[FailureKind] = frozenset(
    {"rate_limited", "detector_down", "overloaded", "upstream_failed", "upstream_timeout"}
)
"""The official SDKs retry 408, 409, 429 and >= 500 unless told not to; every other kind says
``x-should-retry: false``."""


class Failure(msgspec.Struct, frozen=True):
    """One reason why there is no (whole) answer.

    ``message`` is for the client: lower case, no full stop, user text in backticks, what was wrong,
    where, what would fix it. ``detail`` is for operators, never leaves the gateway, and quotes neither prompts nor a provider's text.
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
