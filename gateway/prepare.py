"""What must be there before a gateway can start: folders, schema, a master key, an admin, a policy.

Promises: may be run any number of times; nothing that is there already is changed.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import StartError
from gateway.identity import ensure_admin
from gateway.ledger import migrate, open_database
from gateway.policy_store import Change, Proved, apply_policy, find_active
from gateway.proving import find_shipped_certificate
from gateway.settings import Settings
from policies.certificate import digest_targets
from policies.document import PolicyDocument, PolicyError, parse_policy

MASTER_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Prepared:
    """``admin_key``: the first admin key if it was made now (shown once, never again), else None."""

    admin_key: str | None
    policy: str


async def prepare(settings: Settings, clock: Clock | None = None) -> Prepared:
    """Bring everything up to date. Raises ``StartError`` with one line for the operator."""
    clock = clock or Clock()
    make_home(settings)
    load_master_key(settings)
    await migrate(settings.database_url)
    engine = open_database(settings.database_url)
    try:
        token = settings.admin_token.reveal() if settings.admin_token is not None else None
        admin_key = await ensure_admin(engine, token, now=clock.now())
        active = await find_active(engine, clock.now())
        if active is None:
            text, source = read_policy(settings.policy)
            try:
                document = parse_policy(text, source=source)
            except PolicyError as error:
                raise StartError(f"the policy `{source}` does not work: {error}") from error
            change = Change(author="first start")
            applied = await apply_policy(engine, document, text, change, _certify, now=clock.now())
            active = applied.stored
    finally:
        await engine.dispose()
    return Prepared(admin_key, active.label)


async def _certify(documents: Sequence[PolicyDocument]) -> Proved:
    """The certificates that the documents came with. Which targets there are is not known yet: the gateway proves
    the others when it starts, or does not start."""
    found = (find_shipped_certificate(one, digest_targets(())) for one in documents)
    return Proved([one for one in found if one is not None])


def make_home(settings: Settings) -> None:
    """The state directory, readable by its owner only. Raises ``StartError``."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"cannot make the state directory `{settings.home}`: {error.strerror}"
        ) from error


def load_master_key(settings: Settings) -> bytes:
    """The key that wraps tenants' keys: as set, or made once and kept in the state directory."""
    if settings.master_key is not None:
        return settings.master_key.reveal().encode()
    path = settings.home / "master.key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes().strip()
    except OSError as error:
        raise StartError(f"cannot write the master key `{path}`: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_hex(MASTER_KEY_BYTES).encode()
        file.write(key)
    return key


def read_policy(name: str) -> tuple[str, str]:
    """Text and source of a shipped policy by name, or of a file. Raises ``StartError``."""
    shipped = files("policies") / "defaults"
    entries = [file.name for file in shipped.iterdir()]
    names = sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml"))
    if name in names:
        return (shipped / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml"
    path = Path(name)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except FileNotFoundError as error:
        raise StartError(
            f"there is no policy `{name}`: no such file, and shipped are {', '.join(names)}"
        ) from error
    except OSError as error:
        raise StartError(f"cannot read the policy `{name}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StartError(f"the policy `{name}` is not UTF-8 text") from error
