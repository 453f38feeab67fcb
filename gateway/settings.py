"""Every option, once: name, type, default, unit, help. File < environment < command line.

Promises: nothing else reads the environment; unknown keys in the file and unknown ``MOEGATE_`` variables are
errors that name the nearest known one; secrets never show in a repr.
"""

import dataclasses
import difflib
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import yaml

from backends.catalogue import CatalogueError, check_url
from backends.target import Secret
from gateway.errors import StartError

MIB = 1024 * 1024
T = TypeVar("T")


NOT_OPTIONS = re.compile(
    r"MOEGATE_(CONFIG|KEY|SHARED|TEST_\w+|BIND|FILES|IMAGE|PULL|SECRETS|SERVICE_\w+|PORT_\d+_\w+)"
)
"""Variables of this name that are none: the file of options, a client's key, what tests and ``compose.yaml``
take, and what Kubernetes sets in every container beside a service called moegate."""


REQUEST_SECONDS_MAX = 3540
"""A minute less than ``backends.pricing.BOUND_WINDOW``: prices of the time until then are in a bound."""


def _option(
    default: T, env: str, help_text: str, unit: str = "", least: int = 0, most: int | None = None
) -> T:
    metadata = {"env": env, "help": help_text, "unit": unit, "least": least, "most": most}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class ProviderAccess:
    """How one provider is reached: its key and, if not the usual one, its base URL."""

    api_key: Secret | None = None
    base_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one process. ``docs/settings.md`` is generated from this table."""

    home: Path = _option(
        Path(), "MOEGATE_HOME", "state directory; default: the user's data directory"
    )
    database_url: str = _option(
        "", "MOEGATE_DATABASE_URL", "SQL database; default: a SQLite file in the state directory"
    )
    redis_url: str = _option(
        "", "MOEGATE_REDIS_URL", "Redis or Valkey; empty: admission and cache in process"
    )
    master_key: Secret | None = _option(
        None,
        "MOEGATE_MASTER_KEY",
        "wraps tenants' keys; default: made once, kept in the state directory",
    )
    admin_token: Secret | None = _option(
        None, "MOEGATE_ADMIN_TOKEN", "the first admin key; default: one is made and shown once"
    )
    host: str = _option("127.0.0.1", "MOEGATE_HOST", "address to listen on")
    port: int = _option(8080, "MOEGATE_PORT", "port to listen on", least=1, most=65_535)
    workers: int = _option(
        1, "MOEGATE_WORKERS", "processes; more than one needs Redis", least=1, most=1024
    )
    policy: str = _option(
        "balanced",
        "MOEGATE_POLICY",
        "policy of a first start: a shipped name or a file; later ones are applied",
    )
    catalogue: str = _option("", "MOEGATE_CATALOGUE", "file with targets and providers of your own")
    discover: bool = _option(
        True, "MOEGATE_DISCOVER", "look for OpenAI-compatible servers listening on this machine"
    )
    simulator: str = _option(
        "auto",
        "MOEGATE_SIMULATOR",
        "the built-in simulator as a target: auto (nothing else is there), on, off",
    )
    sglang_urls: tuple[str, ...] = _option(
        (), "SGLANG_URLS", "SGLang workers or routers, comma separated"
    )
    sglang_api_key: Secret | None = _option(
        None, "SGLANG_API_KEY", "key that the SGLang workers ask for"
    )
    body_bytes_max: int = _option(
        16 * MIB, "MOEGATE_BODY_BYTES_MAX", "largest request body", "bytes"
    )
    answer_bytes_max: int = _option(
        64 * MIB, "MOEGATE_ANSWER_BYTES_MAX", "largest plain answer", "bytes"
    )
    request_timeout_seconds: float = _option(
        600.0,
        "MOEGATE_REQUEST_TIMEOUT_SECONDS",
        "longest time for a whole request; within the hour that a bound of its cost covers",
        "seconds",
        most=REQUEST_SECONDS_MAX,
    )
    journal_strict: bool = _option(
        False,
        "MOEGATE_JOURNAL_STRICT",
        "wait for the disk before a call leaves (survives power loss)",
    )
    journal_segment_bytes: int = _option(
        16 * MIB,
        "MOEGATE_JOURNAL_SEGMENT_BYTES",
        "size of one journal segment; each call that is open keeps 4 KiB of one back",
        "bytes",
    )
    cache_ttl_seconds: int = _option(
        3600, "MOEGATE_CACHE_TTL_SECONDS", "how long an answer is kept", "seconds"
    )
    cache_bytes_max: int = _option(
        64 * MIB, "MOEGATE_CACHE_BYTES_MAX", "in-process cache size", "bytes"
    )
    cache_entry_bytes_max: int = _option(
        1 * MIB, "MOEGATE_CACHE_ENTRY_BYTES_MAX", "largest cached answer", "bytes"
    )
    responses_kept: str = _option(
        "default",
        "MOEGATE_RESPONSES_KEPT",
        "whose answers to OpenAI's Responses are kept: default (unless `store` is false, as at OpenAI), asked "
        "(if `store` is true), never",
    )
    responses_kept_days: int = _option(
        30, "MOEGATE_RESPONSES_KEPT_DAYS", "how long they are kept", "days", least=1, most=3650
    )
    log_level: str = _option("info", "MOEGATE_LOG_LEVEL", "debug, info, warning or error")
    providers: Mapping[str, ProviderAccess] = field(
        default_factory=dict[str, ProviderAccess],
        metadata={
            "env": "OPENAI_API_KEY, OPENAI_BASE_URL, … as the SDKs name them",
            "help": "per provider: api_key and base_url",
            "unit": "",
        },
    )


@dataclass(frozen=True, slots=True)
class ProviderVariables:
    """The environment variables of one provider, from the catalogue's data."""

    api_key: str
    base_url: str


def load_settings(
    *,
    environ: Mapping[str, str],
    variables: Mapping[str, ProviderVariables],
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Settings from file, environment and command line, in that order of force (last wins).

    ``config`` defaults to ``MOEGATE_CONFIG``; ``overrides`` holds options by field name, None is
    "not given". Raises :class:`StartError` for unknown keys and values of the wrong type.
    """
    path = config or (Path(environ["MOEGATE_CONFIG"]) if environ.get("MOEGATE_CONFIG") else None)
    values: dict[str, object] = {}
    providers: dict[str, ProviderAccess] = {}
    if path is not None:
        raw = _read_file(path)
        providers = _file_providers(raw.pop("providers", None), path, variables)
        for name, value in raw.items():
            values[name] = _convert(name, value, f"`{path}`")
    _refuse_unknown_variables(environ)
    for spec in dataclasses.fields(Settings):
        variable = str(spec.metadata["env"])
        if spec.name != "providers" and (given := _find_variable(environ, variable)):
            values[spec.name] = _convert(spec.name, given, f"`{variable}`")
    for name, value in (overrides or {}).items():
        if value is not None:
            values[name] = _convert(name, value, "the command line")
    values["providers"] = _environment_providers(providers, environ, variables)
    return _complete(values, environ)


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """A misspelt variable would leave a default in force that nobody chose: budgets kept in one process."""
    known = {str(spec.metadata["env"]) for spec in dataclasses.fields(Settings)}
    for name in sorted(environ):
        option = name.removesuffix("_FILE")
        if name.startswith("MOEGATE_") and option not in known and not NOT_OPTIONS.fullmatch(name):
            raise StartError(f"unknown variable `{name}`{nearest(name, tuple(known))}")


def _find_variable(environ: Mapping[str, str], name: str) -> str | None:
    """A variable's value, or the text of the file that ``NAME_FILE`` names: how containers get secrets."""
    if environ.get(name):
        return environ[name]
    path = environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(
            f"cannot read `{path}`, which `{name}_FILE` names: {type(error).__name__}"
        ) from error


def _complete(values: dict[str, object], environ: Mapping[str, str]) -> Settings:
    home = cast("Path", values.get("home") or _default_home(environ)).expanduser().absolute()
    values["home"] = home
    url = str(values.get("database_url") or f"sqlite+aiosqlite:///{home / 'moegate.db'}")
    values["database_url"] = _name_driver(url)
    settings = Settings(**values)  # type: ignore[arg-type]  # every value went through _convert
    if settings.workers > 1 and not settings.redis_url:
        raise StartError(
            "more than one worker needs `MOEGATE_REDIS_URL`: budgets are shared through Redis"
        )
    if settings.simulator not in ("auto", "on", "off"):
        raise StartError(f"`simulator` is auto, on or off, not `{settings.simulator}`")
    if settings.responses_kept not in ("default", "asked", "never"):
        raise StartError(
            f"`responses_kept` is default, asked or never, not `{settings.responses_kept}`"
        )
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise StartError(
            f"`log_level` is debug, info, warning or error, not `{settings.log_level}`"
        )
    return settings


def _name_driver(url: str) -> str:
    """A database URL as everybody writes it, with the driver that is used here named."""
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        # libpq's word for it; asyncpg's is `ssl`, with the same values.
        return "postgresql+asyncpg://" + re.sub(r"([?&])sslmode=", r"\1ssl=", rest)
    return f"sqlite+aiosqlite://{rest}" if scheme == "sqlite" else url


def _default_home(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/moegate")
    return Path(environ.get("XDG_DATA_HOME") or "~/.local/share") / "moegate"


def _read_file(path: Path) -> dict[str, object]:
    try:
        loaded: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(f"cannot read the configuration `{path}`: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StartError(f"`{path}` is not YAML: {' '.join(str(error).split())}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise StartError(f"`{path}` must hold a mapping of options")
    return {str(key): value for key, value in cast("dict[object, object]", loaded).items()}


def _file_providers(
    raw: object, path: Path, variables: Mapping[str, ProviderVariables]
) -> dict[str, ProviderAccess]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise StartError(f"`providers` in `{path}` must be a mapping")
    found: dict[str, ProviderAccess] = {}
    for name, access in cast("dict[str, object]", raw).items():
        if name not in variables:
            raise StartError(f"unknown provider `{name}` in `{path}`{nearest(name, variables)}")
        if not isinstance(access, dict):
            raise StartError(
                f"`providers.{name}` in `{path}` must be a mapping with `api_key`, `base_url`"
            )
        members = cast("dict[str, object]", access)
        for member in members:
            if member not in ("api_key", "base_url"):
                where = f"`providers.{name}.{member}` in `{path}`"
                raise StartError(
                    f"unknown option {where}{nearest(member, ('api_key', 'base_url'))}"
                )
        key, base_url = members.get("api_key"), members.get("base_url")
        found[name] = ProviderAccess(
            Secret(str(key)) if key else None,
            _read_url(base_url, f"providers.{name}.base_url in {path}") if base_url else None,
        )
    return found


def _environment_providers(
    from_file: Mapping[str, ProviderAccess],
    environ: Mapping[str, str],
    variables: Mapping[str, ProviderVariables],
) -> dict[str, ProviderAccess]:
    merged = dict(from_file)
    for name, names in variables.items():
        base = merged.get(name, ProviderAccess())
        key, said = _find_variable(environ, names.api_key), environ.get(names.base_url)
        base_url = _read_url(said, names.base_url) if said else base.base_url
        access = ProviderAccess(Secret(key) if key else base.api_key, base_url)
        if access.api_key is not None or access.base_url is not None:
            merged[name] = access
    return merged


def _convert(name: str, value: object, where: str) -> object:
    """One option's value in its type; raises :class:`StartError` with the place it came from."""
    known = {spec.name: spec for spec in dataclasses.fields(Settings)}
    if name not in known:
        raise StartError(f"unknown option `{name}` in {where}{nearest(name, known)}")
    spec = known[name]
    default = spec.default
    if name in ("master_key", "admin_token", "sglang_api_key"):
        return value if isinstance(value, Secret) else Secret(str(value))
    if name == "simulator" and isinstance(value, bool):
        return "on" if value else "off"  # what YAML makes of these two words
    if isinstance(default, bool):
        return _to_bool(name, value, where)
    if name == "port" and str(value).startswith("tcp://"):
        raise StartError(
            "`MOEGATE_PORT` is the address of a Kubernetes service called moegate, not a port: set "
            "`enableServiceLinks: false` in the pod, or name the service otherwise"
        )
    if isinstance(default, int | float):
        least, most = int(spec.metadata["least"]), cast("int | None", spec.metadata["most"])
        return _to_number(name, value, where, type(default), least, most)
    if isinstance(default, tuple):
        items: list[object] = (
            list(cast("list[object]", value))
            if isinstance(value, list | tuple)
            else list(str(value).split(","))
        )
        return _read_urls(name, items, where.strip("`"), str(spec.metadata["env"]))
    if isinstance(default, Path):
        return Path(str(value))
    return str(value)


def _read_urls(name: str, items: list[object], where: str, variable: str) -> tuple[str, ...]:
    place = variable if where == variable else f"{name} in {where}"
    return tuple(_read_url(item, place) for item in items if str(item).strip())


def _read_url(value: object, where: str) -> str:
    """A base URL. Raises ``StartError`` for what cannot be called, such as a host without `http://`."""
    try:
        return check_url(str(value).strip(), where)
    except CatalogueError as error:
        raise StartError(str(error)) from error


def _to_bool(name: str, value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    raise StartError(f"`{name}` in {where} must be true or false, not `{value}`")


def _to_number(
    name: str,
    value: object,
    where: str,
    kind: type[int] | type[float],
    least: int,
    most: int | None,
) -> int | float:
    try:
        if isinstance(value, bool):
            raise ValueError  # noqa: TRY004  # caught below, with the text that is no number
        number = kind(str(value))
    except ValueError:
        word = "a whole number" if kind is int else "a number"
        raise StartError(f"`{name}` in {where} must be {word}, not `{value}`") from None
    if not math.isfinite(number) or number < least or (most is not None and number > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise StartError(f"`{name}` in {where} must be {bounds}, not `{value}`")
    return number


def nearest(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """``: did you mean `x`?`` for the closest known name, else an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean `{close[0]}`?" if close else ""


def process_environment() -> Mapping[str, str]:
    """The environment of this process; the only place that reads it."""
    return dict(os.environ)
