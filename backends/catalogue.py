"""The catalogue: who can be called, with which models, at which prices, read from data.

Promises: only providers that are switched on become targets; addresses come from here alone; a mistake
in an administrator's file is one precise line, and changes nothing. Models of providers that are off are
not even read. The version is a hash of everything that routing and prices depend on.
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from backends.target import (
    Adapter,
    Boundary,
    Endpoint,
    Price,
    Rates,
    Secret,
    SelfHosted,
    Target,
    Tier,
)
from backends.wire.prompt import WireFormat

NANO = 10**9
SELF_HOSTED_CAPABILITIES = frozenset(
    {"tools", "parallel_tools", "json_schema", "images", "seed", "choices", "logprobs"}
)
"""What SGLang and vLLM take of any model; an override says otherwise for the one at hand."""
CONTEXT_UNKNOWN = 32_768
"""For a server that does not say how long its context is."""

T = TypeVar("T")
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times faster where PyYAML was built with libyaml, as its wheels are; safe either way."""

Usd = Annotated[str, msgspec.Meta(min_length=1)] | int | float


class CatalogueError(ValueError):
    """A catalogue file that cannot be used; the message is one line with its place."""


class Variables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of a provider's environment variables."""

    api_key: str
    base_url: str


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's public terms; None is unknown."""

    retention_days: int | None = None
    trains_on_inputs: bool | None = None


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of ``providers.yaml``; what the members mean stands there."""

    adapter: Adapter
    format: WireFormat
    base_url: str
    variables: Variables
    region: str
    map: str = ""
    can: tuple[str, ...] = ()
    terms: Terms = Terms()
    auto: dict[str, float] = {}

    @property
    def api_key_variable(self) -> str:
        """The environment variable that holds the key."""
        return self.variables.api_key

    @property
    def base_url_variable(self) -> str:
        """The environment variable that holds another base URL."""
        return self.variables.base_url


class PriceData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None


class TierData(PriceData, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of requests with more input tokens than ``above``."""

    above: int


class ModelData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of ``models/*.yaml``."""

    context: int
    output: int
    can: tuple[str, ...] = ()
    price: PriceData | None = None
    tiers: tuple[TierData, ...] = ()


class TargetData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A target in an administrator's file: a new one (then ``provider`` and ``model`` are needed), or
    what to change about one that is there. ``price`` ``free`` says that it costs nothing."""

    provider: str | None = None
    model: str | None = None
    context: int | None = None
    output: int | None = None
    can: tuple[str, ...] | None = None
    price: PriceData | str | None = None
    tiers: tuple[TierData, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    region: str | None = None
    boundary: Boundary | None = None
    quality: float | None = None
    aliases: tuple[str, ...] | None = None
    auto: bool | None = None
    image_tokens_max: int | None = None
    retention_days: int | None = None
    trains_on_inputs: bool | None = None
    description: str | None = None


class CatalogueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An administrator's file. ``disable`` lists targets to leave out."""

    targets: dict[str, TargetData] = {}
    disable: tuple[str, ...] = ()


class Catalogue:
    """Targets by position, name, alias and model."""

    def __init__(
        self,
        targets: Sequence[Target],
        endpoints: Mapping[str, Endpoint],
        auto: Iterable[str],
    ) -> None:
        """Raises :class:`CatalogueError` for names that are taken twice."""
        self.targets = tuple(targets)
        self.endpoints = dict(endpoints)
        self._by_name: dict[str, Target] = {}
        self._by_word: dict[str, list[Target]] = {}
        for target in self.targets:
            if target.name in self._by_name:
                raise CatalogueError(f"two targets are called `{target.name}`")
            self._by_name[target.name] = target
        for target in self.targets:
            for word in {target.name, target.model, *target.aliases}:
                if word == target.name or word not in self._by_name:
                    self._by_word.setdefault(word, []).append(target)
        wanted = set(auto)
        self.auto = tuple(target for target in self.targets if target.name in wanted)
        """What ``auto`` chooses among."""
        self.version = _digest(self.targets, self.auto)

    def get(self, name: str) -> Target:
        """The target called ``name``; raises ``KeyError``."""
        return self._by_name[name]

    def find(self, model: str) -> tuple[Target, ...]:
        """The targets that ``model`` may mean: by name, alias or the host's own word; () if none."""
        return tuple(self._by_word.get(model, ()))


def read_providers() -> Mapping[str, Provider]:
    """Every provider that moegate knows, on or off."""
    text = (files("backends.data") / "providers.yaml").read_text(encoding="utf-8")
    return _decode(text, dict[str, Provider], "providers.yaml")


def load_catalogue(
    *,
    credentials: Mapping[str, Secret],
    base_urls: Mapping[str, str],
    self_hosted: Sequence[SelfHosted] = (),
    overrides: Path | None = None,
    self_hosted_credential: Secret | None = None,
) -> Catalogue:
    """The catalogue of the providers named in ``credentials`` or ``base_urls``, and of what was found
    at home. Raises :class:`CatalogueError`."""
    providers = read_providers()
    targets: dict[str, Target] = {}
    endpoints: dict[str, Endpoint] = {}
    auto: list[str] = []
    for name, provider in providers.items():
        if name in credentials or name in base_urls:
            base_url = check_url(base_urls.get(name) or provider.base_url, name)
            endpoints[name] = Endpoint(name, (base_url,), credentials.get(name))
            for target in _provider_targets(name, provider):
                targets[target.name] = target
            auto += [f"{name}/{model}" for model in provider.auto]
    for found in self_hosted:
        endpoints[found.name] = Endpoint(
            found.name,
            tuple(check_url(url, found.name) for url in found.base_urls),
            self_hosted_credential,
        )
        for target in _self_hosted_targets(found):
            targets[target.name] = target
            auto.append(target.name)
    if overrides is not None:
        _apply(overrides, targets, endpoints, auto, providers)
    return Catalogue(list(targets.values()), endpoints, auto)


def check_url(url: str, where: str) -> str:
    """``url`` without a trailing slash. Raises :class:`CatalogueError` unless it is http(s) with a host
    and without credentials, query or fragment."""
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine, parts = False, urlsplit("")
    if not is_fine or parts.username or parts.query or parts.fragment:
        raise CatalogueError(
            f"`{where}` needs a base URL such as `https://host/v1`, not `{url[:100]}`"
        )
    return url.rstrip("/")


def _provider_targets(name: str, provider: Provider) -> list[Target]:
    path = files("backends.data") / "models" / f"{name}.yaml"
    models = _decode(path.read_text(encoding="utf-8"), dict[str, ModelData], f"{name}.yaml")
    return [
        Target(
            name=f"{name}/{model}",
            provider=name,
            adapter=provider.adapter,
            format=provider.format,
            model=model,
            endpoint=name,
            boundary="external",
            region=provider.region,
            capabilities=frozenset((*said.can, *provider.can)),
            context_tokens_max=said.context,
            output_tokens_max=said.output,
            prices=(_price(said.price, said.tiers, f"{name}.yaml"),) if said.price else (),
            quality=provider.auto.get(model),
            retention_days=provider.terms.retention_days,
            trains_on_inputs=provider.terms.trains_on_inputs,
        )
        for model, said in models.items()
    ]


def _self_hosted_targets(found: SelfHosted) -> list[Target]:
    return [
        Target(
            name=f"{found.name}/{model.id}",
            provider=found.engine,
            adapter="sglang",
            format="openai-chat",
            model=model.id,
            endpoint=found.name,
            boundary="self_hosted",
            region="home",
            capabilities=SELF_HOSTED_CAPABILITIES,
            context_tokens_max=model.context_tokens_max or CONTEXT_UNKNOWN,
            output_tokens_max=model.context_tokens_max or CONTEXT_UNKNOWN,
            is_free=True,
            retention_days=0,
            trains_on_inputs=False,
        )
        for model in found.models
    ]


def _apply(
    path: Path,
    targets: dict[str, Target],
    endpoints: Mapping[str, Endpoint],
    auto: list[str],
    providers: Mapping[str, Provider],
) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"cannot read the catalogue `{path}`: {error}") from error
    said = _decode(text, CatalogueFile, str(path))
    for name, data in said.targets.items():
        base = targets.get(name) or _new_target(name, data, endpoints, providers, path)
        targets[name] = _changed(base, data, f"`targets.{name}` in `{path}`")
        if data.auto is not None:
            auto[:] = [one for one in auto if one != name]
            if data.auto:
                auto.append(name)
    for name in said.disable:
        if targets.pop(name, None) is None:
            raise CatalogueError(
                f"`disable` in `{path}` names `{name}`, which is no target{_near(name, targets)}"
            )


def _new_target(
    name: str,
    data: TargetData,
    endpoints: Mapping[str, Endpoint],
    providers: Mapping[str, Provider],
    path: Path,
) -> Target:
    where = f"`targets.{name}` in `{path}`"
    if data.provider is None or data.model is None:
        raise CatalogueError(f"{where} is new and needs `provider` and `model`")
    provider = providers.get(data.provider)
    if provider is None:
        raise CatalogueError(
            f"{where} names the unknown provider `{data.provider}`{_near(data.provider, providers)}"
        )
    if data.provider not in endpoints:
        raise CatalogueError(
            f"{where} needs the provider `{data.provider}`: set `{provider.api_key_variable}`"
        )
    if data.context is None or data.output is None:
        raise CatalogueError(f"{where} is new and needs `context` and `output` (tokens)")
    return Target(
        name=name,
        provider=data.provider,
        adapter=provider.adapter,
        format=provider.format,
        model=data.model,
        endpoint=data.provider,
        boundary="external",
        region=provider.region,
        capabilities=frozenset(provider.can),
        context_tokens_max=data.context,
        output_tokens_max=data.output,
        retention_days=provider.terms.retention_days,
        trains_on_inputs=provider.terms.trains_on_inputs,
    )


def _changed(base: Target, data: TargetData, where: str) -> Target:
    changes: dict[str, object] = {
        "model": data.model,
        "context_tokens_max": data.context,
        "output_tokens_max": data.output,
        "capabilities": None if data.can is None else frozenset(data.can),
        "region": data.region,
        "boundary": data.boundary,
        "quality": data.quality,
        "aliases": data.aliases,
        "image_tokens_max": data.image_tokens_max,
        "retention_days": data.retention_days,
        "trains_on_inputs": data.trains_on_inputs,
        "description": data.description,
    }
    if isinstance(data.price, PriceData):
        price = _price(data.price, data.tiers, where)
        changes["prices"] = (
            msgspec.structs.replace(
                price, valid_from=data.valid_from, valid_until=data.valid_until
            ),
        )
        changes["is_free"] = False
    elif data.price == "free":
        changes["is_free"], changes["prices"] = True, ()
    elif data.price is not None:
        raise CatalogueError(f"`price` of {where} is either rates or the word `free`")
    return msgspec.structs.replace(
        base, **{name: value for name, value in changes.items() if value is not None}
    )


def _price(data: PriceData, tiers: Sequence[TierData], where: str) -> Price:
    ordered = sorted(tiers, key=lambda tier: tier.above)
    return Price(
        rates=_rates(data, where),
        tiers=tuple(Tier(tier.above, _rates(tier, where)) for tier in ordered),
        source=where,
    )


def _rates(data: PriceData, where: str) -> Rates:
    def convert(usd: str | float | None) -> int | None:
        return None if usd is None else nanousd_per_mtok(usd, where)

    return Rates(
        input=nanousd_per_mtok(data.input, where),
        output=nanousd_per_mtok(data.output, where),
        cache_read=convert(data.cache_read),
        cache_write=convert(data.cache_write),
        cache_write_1h=convert(data.cache_write_1h),
    )


def nanousd_per_mtok(usd: str | float, where: str) -> int:
    """USD per million tokens as exact nano-dollars per million tokens. Raises :class:`CatalogueError`."""
    try:
        nanousd = Decimal(str(usd)) * NANO
        whole = int(nanousd)
    except (InvalidOperation, ValueError, OverflowError):
        raise CatalogueError(f"`{usd}` in {where} is no price in USD per million tokens") from None
    if whole != nanousd or whole < 0:
        raise CatalogueError(
            f"the price `{usd}` in {where} is negative or finer than a nano-dollar"
        )
    return whole


def _decode(text: str, kind: type[T], where: str) -> T:
    """YAML text as typed data; raises :class:`CatalogueError` with line or path."""
    try:
        loaded: object = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise CatalogueError(f"`{where}` is not YAML: {' '.join(str(error).split())}") from error
    try:
        return msgspec.convert(loaded if loaded is not None else {}, kind)
    except msgspec.ValidationError as error:
        raise CatalogueError(f"`{where}`: {error}") from error


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean `{close[0]}`?" if close else ""


def _digest(targets: Sequence[Target], auto: Sequence[Target]) -> str:
    encoded = msgspec.json.encode([targets, [target.name for target in auto]], order="sorted")
    return hashlib.sha256(encoded).hexdigest()[:16]
