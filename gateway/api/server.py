"""The HTTP server's protocol, which tells a request at once that its client hung up.

uvicorn tells it through ``receive``; waiting there takes a task for every request, and cancelling that task
again when the answer is out. A callback that the request leaves in its scope costs a dictionary entry.
"""

from collections.abc import Callable
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HANG_UP = "moegate.hang_up"
"""Where a request leaves the callback in its scope."""


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a word to whom it concerns when the connection goes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            hang_up = cast("Callable[[], None] | None", cycle.scope.get(HANG_UP))
            if hang_up is not None:
                hang_up()
