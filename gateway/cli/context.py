"""What every command needs first: the settings."""

from collections.abc import Mapping
from pathlib import Path

from backends.catalogue import read_providers
from gateway.settings import ProviderVariables, Settings, load_settings, process_environment


def read_settings(config: Path | None, overrides: Mapping[str, object]) -> Settings:
    """Settings from file, environment and ``overrides``. Raises ``StartError``."""
    variables = {
        name: ProviderVariables(provider.api_key_variable, provider.base_url_variable)
        for name, provider in read_providers().items()
    }
    return load_settings(
        environ=process_environment(), variables=variables, config=config, overrides=overrides
    )
