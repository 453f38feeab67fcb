"""The catalogue: who can be called, with which models, at which prices, read from data.

Promises: only providers that are switched on become targets; addresses come from here alone; a mistake
in an administrator's file is one precise line, and changes nothing. Models of providers that are off are
not even read. The version is a hash of everything that routing and prices depend on.

What the files say is :mod:`backends.catalogue.files`; the administrator's is :mod:`backends.catalogue.overrides`.
"""

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from backends.catalogue.files import (
    IMAGE_TOKENS_UNKNOWN,
    CatalogueError,
    ModelData,
    Provider,
    make_price,
    read_models,
    read_providers,
)
from backends.catalogue.overrides import Draft, apply_overrides
from backends.target import Endpoint, Price, Secret, SelfHosted, ServedModel, Target

SELF_HOSTED_CAPABILITIES = frozenset(
    {"tools", "parallel_tools", "json_schema", "images", "seed", "choices", "logprobs"}
)
"""What SGLang and vLLM take of any model; an override says otherwise for the one at hand."""
NOT_SIMULATED = frozenset({"choices", "logprobs"})
CONTEXT_UNKNOWN = 32_768
"""For a server that does not say how long its context is."""


class Catalogue:
    """Targets by position, name, alias and model."""

    def __init__(
        self,
        targets: Sequence[Target],
        endpoints: Mapping[str, Endpoint],
        auto: Iterable[str],
    ) -> None:
        """Raises :class:`CatalogueError` for names that are taken twice and endpoints that are not there."""
        self.targets = tuple(targets)
        self.endpoints = dict(endpoints)
        self._by_name: dict[str, Target] = {}
        self._by_word: dict[str, list[Target]] = {}
        for target in self.targets:
            if target.name in self._by_name:
                raise CatalogueError(f"two targets are called `{target.name}`")
            if target.endpoint not in self.endpoints:
                raise CatalogueError(f"`{target.name}` has no endpoint `{target.endpoint}`")
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


def load_catalogue(
    *,
    credentials: Mapping[str, Secret],
    base_urls: Mapping[str, str],
    self_hosted: Sequence[SelfHosted] = (),
    overrides: str | Path | None = None,
    self_hosted_credential: Secret | None = None,
) -> Catalogue:
    """The catalogue of the providers named in ``credentials`` or ``base_urls``, and of what was found
    at home.

    ``self_hosted_credential`` goes to the SGLang servers that were named, not to whatever listens on this
    machine. Raises :class:`CatalogueError`.
    """
    draft = Draft(read_providers(), {}, {}, [])
    for name, provider in draft.providers.items():
        if name in credentials or name in base_urls:
            base_url = check_url(base_urls.get(name) or provider.base_url, name)
            draft.endpoints[name] = Endpoint(name, (base_url,), credentials.get(name))
            for target in _provider_targets(name, provider, base_url):
                draft.targets[target.name] = target
            draft.auto += [f"{name}/{model}" for model in provider.auto]
    for found in self_hosted:
        _add_self_hosted(found, self_hosted_credential, draft)
    if overrides is not None:
        apply_overrides(Path(overrides), draft)
    return Catalogue(list(draft.targets.values()), draft.endpoints, draft.auto)


def find_hosts(model: str) -> tuple[tuple[str, str], ...]:
    """The built-in providers that serve ``model``, on or off, each with the variable of its key."""
    return tuple(_read_hosts().get(model, ()))


@functools.cache
def _read_hosts() -> Mapping[str, list[tuple[str, str]]]:
    """By target, model and alias. Read when first asked for (15 ms and 0.6 MB, once): hardly a start needs it."""
    hosts: dict[str, list[tuple[str, str]]] = {}
    for name, provider in read_providers().items():
        models = read_models(name).models
        for word in {*models, *(f"{name}/{model}" for model in models), *provider.aliases}:
            hosts.setdefault(word, []).append((name, provider.api_key_variable))
    return hosts


def check_url(url: str, where: str) -> str:
    """``url`` without a trailing slash. Raises :class:`CatalogueError` unless it is http(s) with a host
    and without credentials, query or fragment."""
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine, parts = False, urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise CatalogueError(f"the base URL of `{where}` holds a password: use its key instead")
    if not is_fine or parts.query or parts.fragment:
        raise CatalogueError(
            f"`{where}` needs a base URL with `http://` or `https://`, such as `https://host/v1`, not `{url[:100]}`"
        )
    return url.rstrip("/")


def _provider_targets(name: str, provider: Provider, base_url: str) -> list[Target]:
    file = read_models(name)
    host_region = provider.find_host_region(base_url)
    aliases: dict[str, list[str]] = {}
    for alias, model in provider.aliases.items():
        aliases.setdefault(model, []).append(alias)
    return [
        Target(
            name=f"{name}/{model}",
            provider=name,
            adapter=provider.adapter,
            format=provider.format,
            model=model,
            endpoint=name,
            boundary="external",
            region=host_region or provider.region,
            capabilities=frozenset(said.can if "embed" in said.can else (*said.can, *provider.can)),
            context_tokens_max=said.context,
            output_tokens_max=said.output,
            prices=_built_in_prices(f"{name}/{model}", said, file.source, host_region),
            aliases=tuple(aliases.get(model, ())),
            quality=provider.auto.get(model),
            image_tokens_max=provider.image_tokens_max(model),
            retention_days=provider.terms.retention_days,
            trains_on_inputs=provider.terms.trains_on_inputs,
        )
        for model, said in file.models.items()
    ]


def _built_in_prices(
    name: str, said: ModelData, source: str, host_region: str | None
) -> tuple[Price, ...]:
    if said.price is None:
        return ()
    factor = host_region and said.regional
    try:
        return (make_price(said.price, said.tiers, source, factor, said.windows),)
    except CatalogueError as error:
        place = ".".join(map(str, error.place))
        raise CatalogueError(f"`{name}`, `{place}`: {error}") from error


def _add_self_hosted(found: SelfHosted, credential: Secret | None, draft: Draft) -> None:
    """A service at home under a name that nobody has yet: two must never share an address."""
    name, number = found.name, 1
    while name in draft.endpoints or name in draft.providers:
        number += 1
        name = f"{found.name}-{number}"
    is_named = found.engine in ("sglang", "sglang-router") and not name.startswith("local-")
    draft.endpoints[name] = Endpoint(
        name,
        tuple(check_url(url, name) for url in found.base_urls),
        credential if is_named else None,
    )
    for target in _self_hosted_targets(name, found):
        draft.targets[target.name] = target
        if "embed" not in target.capabilities:
            draft.auto.append(target.name)


def _self_hosted_targets(name: str, found: SelfHosted) -> list[Target]:
    return [
        Target(
            name=f"{name}/{model.id}",
            provider=found.engine,
            adapter="sglang",
            format="openai-chat",
            model=model.id,
            endpoint=name,
            boundary="self_hosted",
            region="home",
            capabilities=_self_hosted_capabilities(model, found),
            context_tokens_max=model.context_tokens_max or CONTEXT_UNKNOWN,
            output_tokens_max=(
                0 if model.is_embedder else model.context_tokens_max or CONTEXT_UNKNOWN
            ),
            is_free=True,
            image_tokens_max=IMAGE_TOKENS_UNKNOWN,
            retention_days=0,
            trains_on_inputs=False,
        )
        for model in found.models
    ]


def _self_hosted_capabilities(model: ServedModel, found: SelfHosted) -> frozenset[str]:
    if model.is_embedder:
        return frozenset({"embed"})
    return SELF_HOSTED_CAPABILITIES - (
        NOT_SIMULATED if found.engine == "simulator" else frozenset()
    )


def _digest(targets: Sequence[Target], auto: Sequence[Target]) -> str:
    encoded = msgspec.json.encode([targets, [target.name for target in auto]], order="sorted")
    return hashlib.sha256(encoded).hexdigest()[:16]
