"""One gateway and no other, where budgets are counted in its memory.

Two processes that count one budget each for themselves overspend it. So without a Redis a gateway holds its state
directory, and its PostgreSQL if it has one, for as long as it lives; the kernel and the server let go of both
however it ends.
"""

import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.errors import StartError
from gateway.settings import Settings

LOCK_FILE = "gateway.lock"
ADVISORY_KEY = 0x6D6F6567617465
"""``moegate`` in ASCII; advisory locks are per database."""
_HELP = "several need `MOEGATE_REDIS_URL`, through which they share budgets"


@asynccontextmanager
async def alone(settings: Settings, engine: AsyncEngine) -> AsyncGenerator[None]:
    """Hold what only one may have, unless a Redis is set. Raises ``StartError`` if another has it."""
    if settings.redis_url:
        yield
        return
    async with AsyncExitStack() as stack:
        _hold_directory(settings.home, stack)
        if engine.dialect.name == "postgresql":
            await _hold_database(engine, stack)
        yield


def _hold_directory(home: Path, stack: AsyncExitStack) -> None:
    try:
        descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot write into `{home}`: {error.strerror}") from error
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(f"another gateway works in `{home}`: {_HELP}") from None


async def _hold_database(engine: AsyncEngine, stack: AsyncExitStack) -> None:
    query = text("SELECT pg_try_advisory_lock(:key)")
    try:
        connection = await stack.enter_async_context(engine.connect())
        # No transaction: it would stay open for as long as the gateway lives.
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        is_ours = (await connection.execute(query, {"key": ADVISORY_KEY})).scalar()
    except (SQLAlchemyError, OSError) as error:
        raise StartError(f"the database cannot be locked ({type(error).__name__})") from error
    if not is_ours:
        raise StartError(f"another gateway works on this database: {_HELP}")
