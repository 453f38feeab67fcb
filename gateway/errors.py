"""How this side says no, and how it says that something broke. Knows nothing of HTTP.

``Refused`` carries a :class:`backends.wire.failure.Failure` to the edge, where the client format's
codec renders it. ``Bug`` is an invariant that did not hold: the edge shows the request id only.
"""

from backends.wire.failure import Failure, FailureKind


class Refused(Exception):
    """The request ends here with ``failure``: a refusal or a failure, both expected."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Bug(RuntimeError):
    """An invariant that guards money or privacy did not hold; nothing was sent."""


class StartError(RuntimeError):
    """The configuration cannot work; the message is one line for the operator."""


def refuse(
    kind: FailureKind,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    retry_after_seconds: float | None = None,
) -> Refused:
    """A :class:`Refused` from its parts."""
    return Refused(
        Failure(kind, message, code=code, param=param, retry_after_seconds=retry_after_seconds)
    )
