"""What every command needs first: the settings."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from backends.catalogue import read_providers
from gateway.errors import StartError
from gateway.ledger import open_database
from gateway.settings import ProviderVariables, Settings, load_settings, process_environment

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
