"""What is told of a defect of our own: its place to the log, an id to the client."""

from structlog.typing import FilteringBoundLogger

from backends.wire.failure import Failure
from gateway.errors import Bug


def log_bug(log: FilteringBoundLogger, request_id: str, error: Exception) -> Failure:
    """Log where ``error`` was raised; its words only if they are ours, for others may quote a prompt."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    log.error(
        "bug",
        request_id=request_id,
        error=type(error).__name__,
        where=f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "",
        text=str(error) if isinstance(error, Bug) else "",
    )
    return Failure("internal", f"something broke inside the gateway; its log knows `{request_id}`")
