"""Who asks: API keys and the principals behind them. Only digests of keys are ever kept."""

from gateway.identity.authenticate import authenticate
from gateway.identity.keys import (
    DEFAULT_ORGANISATION,
    KeyRecord,
    NewKey,
    create_key,
    ensure_admin,
    is_key_id,
    list_keys,
    revoke_key,
)
from gateway.identity.lookup import Identity
from gateway.identity.principal import Principal

__all__ = [
    "DEFAULT_ORGANISATION",
    "Identity",
    "KeyRecord",
    "NewKey",
    "Principal",
    "authenticate",
    "create_key",
    "ensure_admin",
    "is_key_id",
    "list_keys",
    "revoke_key",
]
