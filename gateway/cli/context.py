"""What commands need first: the settings, the database, what can be called from here."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from backends.catalogue import Catalogue, read_providers
from backends.transport import Transport
from gateway.errors import StartError
from gateway.ledger import open_database
from gateway.settings import ProviderVariables, Settings, load_settings, process_environment
from gateway.telemetry.log import LineWriter, make_logger
from gateway.world import World, open_world

T = TypeVar("T")


def read_settings(config: Path | None, overrides: Mapping[str, object]) -> Settings:
    """Settings from file, environment and ``overrides``. Raises ``StartError``."""
    variables = {
        name: ProviderVariables(provider.api_key_variable, provider.base_url_variable)
        for name, provider in read_providers().items()
    }
    return load_settings(
        environ=process_environment(), variables=variables, config=config, overrides=overrides
    )


def run_on_database(url: str, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """What ``work`` answers, on an engine of its own. Raises ``StartError`` if SQL does not answer."""
    if absent := absent_file(url):
        raise StartError(
            f"`{absent}` is not there: is this the gateway's MOEGATE_HOME, HOME and --config? Before "
            "its first start, `moegate init` makes it"
        )

    async def run() -> T:
        engine = open_database(url)
        try:
            return await work(engine)
        except (SQLAlchemyError, OSError) as error:
            raise StartError(
                f"the database does not answer ({type(error).__name__}): run `moegate init`, or look "
                "at `MOEGATE_DATABASE_URL`"
            ) from error
        finally:
            await engine.dispose()

    return asyncio.run(run())


def absent_file(database_url: str) -> str | None:
    """The SQLite file that ``database_url`` names and that nobody has made yet."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or not url.database or Path(url.database).exists():
        return None
    return url.database


STANDARD_ERROR = 2


@asynccontextmanager
async def surroundings(settings: Settings) -> AsyncGenerator[World]:
    """What a gateway with these settings would find: providers, servers at home, the simulator. Raises
    ``StartError``."""
    writer = LineWriter(STANDARD_ERROR)
    transport = Transport()
    try:
        async with open_world(settings, transport, make_logger(writer, "error")) as world:
            yield world
    finally:
        await transport.close()
        writer.close()


def find_catalogue(settings: Settings) -> Catalogue:
    """The catalogue that a gateway with these settings would start with. Raises ``StartError``."""

    async def look() -> Catalogue:
        async with surroundings(settings) as world:
            return world.catalogue

    return asyncio.run(look())
