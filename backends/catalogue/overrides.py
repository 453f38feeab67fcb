"""An administrator's catalogue file: what to change about the built-in targets, and targets of one's own.

Promises: a mistake is one line that names the file, the line and the path, and changes nothing; an unknown
key is refused with the nearest known one; nothing is said twice. What is said about a provider that is
off, or about a server at home that is away, waits until it is there.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar, cast

import msgspec
import yaml

from backends.catalogue.files import (
    CatalogueError,
    Days,
    Loader,
    OutputTokens,
    PriceData,
    Provider,
    Quality,
    TierData,
    Tokens,
    WindowData,
    load_yaml,
    make_price,
    near,
    read_models,
)
from backends.target import Boundary, Capability, Endpoint, Price, Rates, Target, is_plain_name

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Task = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_.-]{0,39}$")]
Qualities = Annotated[dict[Task, Quality], msgspec.Meta(min_length=1)]
WHOLE = "default"
"""What counts for tasks that were not measured apart."""
T = TypeVar("T")
_UNKNOWN_KEY = re.compile(r"unknown field `(.+?)`")
_PLACE = re.compile(r" - at `(?:key` in `)?\$(.*?)(?:\[\.\.\.\])?`$")
"""Of a mapping with keys of one's own the place tells neither key nor value."""
_QUALITY = "a quality is a number from 0 to 1, or one for each task: `{default: 0.75, code: 0.82}`"
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
SELF_HOSTED_NAMES = re.compile(r"(sglang|vllm|ollama|lmstudio|openai-server|local|simulator)\b")
"""How the names of servers at home begin."""


FREE = Price(Rates(input=0, output=0), source="free")
"""What holds beside a dated price of a target that costs nothing."""


class ProviderChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is different about a provider for this account: contract, region, zero retention."""

    region: str | None = None
    retention_days: Days | None = None
    trains_on_inputs: bool | None = None


class TargetData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new target (then ``provider``, ``model``, ``context`` and ``output`` are needed), or what to change
    about one that is there. ``price`` ``free`` says that it costs nothing. A price with dates holds
    between them and beside the one before; one without replaces it."""

    provider: str | None = None
    model: str | None = None
    context: Tokens | None = None
    output: OutputTokens | None = None
    can: tuple[Capability, ...] | None = None
    price: PriceData | str | None = None
    tiers: tuple[TierData, ...] = ()
    windows: tuple[WindowData, ...] = ()
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    region: str | None = None
    boundary: Boundary | None = None
    quality: Quality | Qualities | None = None
    aliases: tuple[str, ...] | None = None
    auto: bool | None = None
    image_tokens_max: Tokens | None = None
    retention_days: Days | None = None
    trains_on_inputs: bool | None = None
    description: str | None = None


class CatalogueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as a whole. ``disable`` lists targets to leave out."""

    providers: dict[str, ProviderChange] = {}
    targets: dict[str, TargetData] = {}
    disable: tuple[str, ...] = ()


class Draft(msgspec.Struct):
    """A catalogue in the making."""

    providers: Mapping[str, Provider]
    endpoints: dict[str, Endpoint]
    targets: dict[str, Target]
    auto: list[str]


def apply_overrides(path: Path, draft: Draft) -> None:
    """Change ``draft`` as the file at ``path`` says. Raises :class:`CatalogueError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"cannot read the catalogue `{path}`: {error}") from error
    file = _File(str(path), text)
    said = file.decode()
    for name, change in said.providers.items():
        _change_provider(name, change, draft, file)
    for name, data in said.targets.items():
        _change_target(name, data, draft, file)
    for at, name in enumerate(said.disable):
        if name in draft.targets:
            del draft.targets[name]
        elif not _is_away(name, draft):
            file.refuse(("disable", at), f"`{name}` is no target{near(name, draft.targets)}")
    draft.auto[:] = [name for name in draft.auto if name in draft.targets]


def _change_provider(name: str, change: ProviderChange, draft: Draft, file: "_File") -> None:
    if name not in draft.providers:
        file.refuse(
            ("providers", name), f"there is no provider `{name}`{near(name, draft.providers)}"
        )
    changes = _given(
        region=change.region,
        retention_days=change.retention_days,
        trains_on_inputs=change.trains_on_inputs,
    )
    for target in list(draft.targets.values()):
        if target.endpoint == name:
            draft.targets[target.name] = msgspec.structs.replace(target, **changes)


def _change_target(name: str, data: TargetData, draft: Draft, file: "_File") -> None:
    place = ("targets", name)
    for one in (name, *(data.aliases or ())):
        if not is_plain_name(one):
            shown = ascii(one)[1:-1][:80]
            file.refuse(
                ("targets",),
                f"`{shown}` is no name: it has to stand in headers, printable and short",
            )
    base = draft.targets.get(name)
    if base is None:
        # What is away waits, but its mistakes are told now, not on the day when it is there.
        if _is_away(name, draft) and data.provider in (None, name.partition("/")[0]):
            _try_prices((), data, file, place)
            return
        base = _new_target(name, data, draft, file)
        if base.endpoint not in draft.endpoints:
            _try_prices((), data, file, place)
            return
    elif data.provider not in (None, base.endpoint):
        file.refuse(
            (*place, "provider"), f"`{name}` is at `{base.endpoint}`; choose another name for it"
        )
    prices = _try_prices((FREE,) if base.is_free else base.prices, data, file, place)
    draft.targets[name] = msgspec.structs.replace(base, **_changes(data), **prices)
    if data.auto is not None:
        draft.auto[:] = [one for one in draft.auto if one != name]
        if data.auto:
            draft.auto.append(name)


def _new_target(name: str, data: TargetData, draft: Draft, file: "_File") -> Target:
    """A target that the built-in files do not have; its provider may be off."""
    place = ("targets", name)
    if data.provider is None or data.model is None:
        known = near(name, draft.targets)
        file.refuse(place, f"`{name}` is new and needs `provider` and `model`{known}")
    provider = draft.providers.get(data.provider)
    if provider is None:
        known = near(data.provider, draft.providers)
        file.refuse((*place, "provider"), f"there is no provider `{data.provider}`{known}")
    is_embedder = "embed" in (data.can or ())
    output = 0 if is_embedder and data.output is None else data.output
    if data.context is None or output is None:
        file.refuse(place, f"`{name}` is new and needs `context` and `output` (tokens)")
    endpoint = draft.endpoints.get(data.provider)
    base_url = provider.base_url if endpoint is None else endpoint.base_urls[0]
    return Target(
        name=name,
        provider=data.provider,
        adapter=provider.adapter,
        format=provider.format,
        model=data.model,
        endpoint=data.provider,
        boundary="external",
        region=provider.find_host_region(base_url) or provider.region,
        capabilities=frozenset(provider.can),
        context_tokens_max=data.context,
        output_tokens_max=output,
        image_tokens_max=provider.image_tokens_max(data.model),
        retention_days=provider.terms.retention_days,
        trains_on_inputs=provider.terms.trains_on_inputs,
    )


def _changes(data: TargetData) -> dict[str, object]:
    """Everything that ``data`` says but the prices."""
    return _given(
        model=data.model,
        context_tokens_max=data.context,
        output_tokens_max=data.output,
        capabilities=None if data.can is None else frozenset(data.can),
        region=data.region,
        boundary=data.boundary,
        **_qualities(data),
        aliases=data.aliases,
        image_tokens_max=data.image_tokens_max,
        retention_days=data.retention_days,
        trains_on_inputs=data.trains_on_inputs,
        description=data.description,
    )


def _qualities(data: TargetData) -> dict[str, object]:
    if not isinstance(data.quality, dict):
        return {"quality": data.quality}
    by_task = dict(data.quality)
    return {"quality": by_task.pop(WHOLE, None), "qualities": by_task}


def _try_prices(
    known: tuple[Price, ...], data: TargetData, file: "_File", place: tuple[str | int, ...]
) -> dict[str, object]:
    try:
        return _price_changes(known, data, file.where(place))
    except CatalogueError as error:
        file.refuse((*place, *(error.place or ("price",))), str(error))


def _price_changes(known: tuple[Price, ...], data: TargetData, where: str) -> dict[str, object]:
    if isinstance(data.price, PriceData):
        return {"prices": _prices(known, data, data.price, where), "is_free": False}
    if data.price not in (None, "free"):
        raise CatalogueError(
            f"a price is rates (`input`, `output`) or the word `free`, not `{data.price}`"
        )
    for name in ("tiers", "windows", "valid_from", "valid_until"):
        if getattr(data, name):
            raise CatalogueError(f"`{name}` needs a `price` with rates", (name,))
    return {} if data.price is None else {"prices": (), "is_free": True}


def _prices(
    known: tuple[Price, ...], data: TargetData, said: PriceData, where: str
) -> tuple[Price, ...]:
    price = msgspec.structs.replace(
        make_price(said, data.tiers, where, windows=data.windows),
        valid_from=data.valid_from,
        valid_until=data.valid_until,
    )
    if data.valid_from and data.valid_until and data.valid_from >= data.valid_until:
        raise CatalogueError("`valid_until` is not after `valid_from`", ("valid_until",))
    is_dated = data.valid_from is not None or data.valid_until is not None
    return (*known, price) if is_dated else (price,)


def _given(**changes: object) -> dict[str, object]:
    return {name: value for name, value in changes.items() if value is not None}


def _is_away(name: str, draft: Draft) -> bool:
    """Whether the built-in ``name`` may be there another time: at a provider that is off, or at a server at
    home."""
    host, _, model = name.partition("/")
    if host in draft.providers:
        return host not in draft.endpoints and model in read_models(host).models
    return host not in draft.endpoints and SELF_HOSTED_NAMES.match(host) is not None


class _File:
    """A YAML file that knows in which line a path stands."""

    def __init__(self, path: str, text: str) -> None:
        """Raises :class:`CatalogueError` for what is no YAML or says a key twice."""
        self._path = path
        self._loaded = load_yaml(text, path)
        self._lines: dict[tuple[str | int, ...], int] = {}
        root = yaml.compose(text, Loader=Loader)
        if root is not None:
            self._number(root, ())

    def _number(self, node: yaml.Node, place: tuple[str | int, ...]) -> None:
        self._lines.setdefault(place, node.start_mark.line + 1)
        for key, child in _children(node):
            at = (*place, key.value if isinstance(key, yaml.Node) else key)
            if isinstance(key, yaml.Node):
                if at in self._lines:
                    self._lines[at] = key.start_mark.line + 1
                    self.refuse(at, "this is said twice")
                self._lines[at] = key.start_mark.line + 1
            self._number(child, at)

    def where(self, place: tuple[str | int, ...]) -> str:
        """``file:line, `path```, for as much of ``place`` as the file has."""
        known = place
        while known not in self._lines and known:
            known = known[:-1]
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
        return f"`{self._path}` line {self._lines.get(known, 1)}, `{path[1:] or 'the document'}`"

    def refuse(self, place: tuple[str | int, ...], problem: str) -> NoReturn:
        """Raise :class:`CatalogueError` for what stands at ``place``."""
        raise CatalogueError(f"{self.where(place)}: {problem}")

    def decode(self) -> CatalogueFile:
        """The file as typed data. Raises :class:`CatalogueError`."""
        top = self._mapping(self._loaded, ())
        for key in top:
            if key not in CatalogueFile.__struct_fields__:
                known = near(key, CatalogueFile.__struct_fields__)
                self.refuse((key,), f"there is no such key{known}")
        return CatalogueFile(
            providers={
                name: self._convert(raw, ProviderChange, ("providers", name))
                for name, raw in self._mapping(top.get("providers"), ("providers",)).items()
            },
            targets={
                name: self._convert(_with_zones(raw), TargetData, ("targets", name))
                for name, raw in self._mapping(top.get("targets"), ("targets",)).items()
            },
            disable=self._convert(top.get("disable") or [], tuple[str, ...], ("disable",)),
        )

    def _mapping(self, value: object, place: tuple[str | int, ...]) -> dict[str, object]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(place, "this must be a mapping")
        return {str(key): item for key, item in cast("dict[object, object]", value).items()}

    def _convert(self, raw: object, kind: type[T], place: tuple[str | int, ...]) -> T:
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            self._explain(str(error), kind, place)

    def _explain(self, message: str, kind: object, place: tuple[str | int, ...]) -> NoReturn:
        steps: tuple[str | int, ...] = ()
        if found := _PLACE.search(message):
            steps = tuple(name or int(number) for name, number in _STEP.findall(found[1]))
        if unknown := _UNKNOWN_KEY.search(message):
            known = near(unknown[1], _fields(kind, steps))
            self.refuse((*place, *steps, unknown[1]), f"there is no such key{known}")
        is_quality = steps[-1:] == ("quality",)
        self.refuse((*place, *steps), _QUALITY if is_quality else _PLACE.sub("", message))


def _fields(kind: object, steps: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that may stand where ``steps`` lead from ``kind``."""
    inner: Mapping[str, type[msgspec.Struct]] = {
        "price": PriceData,
        "tiers": TierData,
        "windows": WindowData,
    }
    for step in reversed(steps):
        if isinstance(step, str) and step in inner:
            return inner[step].__struct_encode_fields__
    struct = TargetData if kind is TargetData else ProviderChange
    return struct.__struct_fields__


def _children(node: yaml.Node) -> Iterator[tuple[yaml.Node | int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from enumerate(cast("list[yaml.Node]", node.value))


def _with_zones(raw: object) -> object:
    """Days and times without a zone, as YAML reads them, are UTC."""
    if not isinstance(raw, dict):
        return raw
    fields = dict(cast("dict[object, object]", raw))
    for name in ("valid_from", "valid_until"):
        value = fields.get(name)
        if isinstance(value, datetime):
            fields[name] = value if value.tzinfo else value.replace(tzinfo=UTC)
        elif isinstance(value, date):
            fields[name] = datetime.combine(value, time(), UTC)
    return fields
