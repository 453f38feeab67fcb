"""A key's principal, or the refusal that its sender gets."""

from gateway.errors import refuse
from gateway.identity.lookup import Identity, IdentityDown, Miss
from gateway.identity.principal import Principal

RETRY_SECONDS = 5.0


async def authenticate(identity: Identity, token: bytes | None, now: float) -> Principal:
    """Whose key ``token`` is at ``now``. Raises ``Refused``: ``unauthenticated``, or ``overloaded`` where
    nobody can tell."""
    if not token:
        raise refuse(
            "unauthenticated",
            "no API key was sent; send it as `Authorization: Bearer mg-…`",
            code="invalid_api_key",
        )
    found = identity.find(token, now)
    if found is Miss:
        try:
            found = await identity.load(token, now)
        except IdentityDown:
            raise refuse(
                "overloaded",
                "keys cannot be looked up at the moment; try again later",
                retry_after_seconds=RETRY_SECONDS,
            ) from None
    if not isinstance(found, Principal):
        raise refuse("unauthenticated", "the API key is unknown or revoked", code="invalid_api_key")
    return found
