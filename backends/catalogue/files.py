"""What the catalogue's files may say, typed: providers, models, prices; and YAML made into it.

Promises: a price becomes an exact integer or an error, never a float; unknown keys are errors.
Does not decide who is switched on: see :mod:`backends.catalogue.loading`.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from fractions import Fraction
from importlib.resources import files
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from backends.target import (
    DAY_MINUTES,
    WEEK_MINUTES,
    WEEKDAYS,
    Adapter,
    Capability,
    Price,
    Rates,
    Tier,
    Weekday,
    Window,
)
from backends.wire.prompt import WireFormat

NANO = 10**9
PLACES_MAX = 9
USD_PER_MTOK_MAX = 10**6
"""A dollar a token: what is dearer is a mistake in the unit."""
IMAGE_TOKENS_UNKNOWN = 16_384
"""The most that one image is to a model that does not say: the upper end of Qwen2-VL's default range (its
model card), the largest among the open ones that we know."""
T = TypeVar("T")
Place = tuple[str | int, ...]
_Safe: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times faster where PyYAML was built with libyaml, as its wheels are; safe either way."""


class Loader(_Safe):
    """Takes ``16:30`` for the text that it is. YAML 1.1 reads 990, a number to the base of 60, and then nobody can
    tell it from ``990``, nor ``8``, eight minutes past midnight, from eight o'clock."""


_TIME = ("tag:yaml.org,2002:str", re.compile(r"[-+]?[0-9]+(:[0-9.]+)+$"))
Loader.yaml_implicit_resolvers = {
    first: [_TIME, *known] if first in "+-0123456789" else known
    for first, known in _Safe.yaml_implicit_resolvers.items()
}

_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])|24:00")
Usd = Annotated[str, msgspec.Meta(min_length=1)] | int | float
"""USD per million tokens. A float of YAML is taken as its shortest decimal, which is what was written."""
TOKENS_MAX = 10**9
Tokens = Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)]
OutputTokens = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]
"""None of a model that gives vectors."""
Days = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
"""Proofs take every number of days from 0 on into account."""
Quality = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CatalogueError(ValueError):
    """A catalogue file that cannot be used; the message is one line. ``place`` is where in the target's entry the
    mistake stands, as long as the message does not say so itself."""

    def __init__(self, message: str, place: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.place = place


class Variables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of a provider's environment variables."""

    api_key: str
    base_url: str


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's public terms for its API, and where they stand; None is unknown."""

    retention_days: Days | None = None
    trains_on_inputs: bool | None = None
    source: str | None = None


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of ``providers.yaml``; what the members mean stands there."""

    adapter: Adapter
    format: WireFormat
    base_url: str
    variables: Variables
    region: str
    map: str
    can: tuple[Capability, ...] = ()
    terms: Terms = Terms()
    auto: dict[str, Quality] = {}
    aliases: dict[str, str] = {}
    image_tokens: dict[str, int] = {}
    regional_hosts: dict[str, str] = {}

    @property
    def api_key_variable(self) -> str:
        """The environment variable that holds the key."""
        return self.variables.api_key

    @property
    def base_url_variable(self) -> str:
        """The environment variable that holds another base URL."""
        return self.variables.base_url

    def image_tokens_max(self, model: str) -> int:
        """The most input tokens that an image can be; the last pattern that fits counts."""
        fitting = [most for glob, most in self.image_tokens.items() if fnmatchcase(model, glob)]
        return fitting[-1] if fitting else IMAGE_TOKENS_UNKNOWN

    def find_host_region(self, base_url: str) -> str | None:
        """The region that ``base_url`` commits the provider to, if it is one of its regional hosts."""
        return self.regional_hosts.get(urlsplit(base_url).hostname or "")


class PriceData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None


class TierData(PriceData, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of requests with more input tokens than ``above``."""

    above: Tokens


class WindowData(PriceData, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices from ``from`` until ``until`` (UTC, ``16:30``) of each day, or of ``days`` alone; over midnight where
    ``until`` is the lesser: then the days are those on which it begins. The tiers are those of the hours."""

    start: "TimeOfDay" = msgspec.field(name="from")
    until: "TimeOfDay"
    days: Annotated[tuple[Weekday, ...], msgspec.Meta(min_length=1)] = WEEKDAYS
    tiers: tuple[TierData, ...] = ()


TimeOfDay = str | int | float
"""A number is none, but is told so in better words than those of a type."""


class ModelData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of ``models/*.yaml``. ``regional`` multiplies its prices on a provider's regional hosts."""

    context: Tokens
    output: OutputTokens
    can: tuple[Capability, ...] = ()
    price: PriceData | None = None
    tiers: tuple[TierData, ...] = ()
    windows: tuple[WindowData, ...] = ()
    regional: str | None = None


class ModelsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of ``models/``. ``source`` names the price map, its version and its day."""

    source: str
    models: dict[str, ModelData]


def read_providers() -> Mapping[str, Provider]:
    """Every provider that moegate knows, on or off."""
    return decode_yaml(_read("providers.yaml"), dict[str, Provider], "providers.yaml")


def read_models(provider: str) -> ModelsFile:
    """The models of a provider in ``providers.yaml``."""
    name = f"models/{provider}.yaml"
    return decode_yaml(_read(name), ModelsFile, name)


def _read(name: str) -> str:
    return files("backends.data").joinpath(*name.split("/")).read_text(encoding="utf-8")


def decode_yaml(text: str, kind: type[T], where: str) -> T:
    """YAML text as typed data; raises :class:`CatalogueError`."""
    try:
        return msgspec.convert(load_yaml(text, where), kind)
    except msgspec.ValidationError as error:
        raise CatalogueError(f"`{where}`: {error}") from error


def load_yaml(text: str, where: str) -> object:
    """YAML text as plain values, an empty document as ``{}``; raises :class:`CatalogueError`."""
    try:
        loaded: object = yaml.load(text, Loader=Loader)  # noqa: S506  # a safe loader, see above
    except yaml.YAMLError as error:
        raise CatalogueError(f"`{where}` is not YAML: {' '.join(str(error).split())}") from error
    return {} if loaded is None else loaded


def make_price(
    data: PriceData,
    tiers: Sequence[TierData],
    source: str,
    factor: str | None = None,
    windows: Sequence[WindowData] = (),
) -> Price:
    """A price of ``data``, every rate times ``factor``. Raises :class:`CatalogueError`."""
    return Price(
        rates=_rates(data, ("price",), factor),
        tiers=_tiers(tiers, (), factor),
        source=source,
        windows=_windows(windows, factor),
    )


def _tiers(tiers: Sequence[TierData], place: Place, factor: str | None) -> tuple[Tier, ...]:
    made: dict[int, Tier] = {}
    for at, data in enumerate(tiers):
        here = (*place, "tiers", at)
        if data.above in made:
            raise CatalogueError(f"another tier begins above {data.above} tokens too", here)
        made[data.above] = Tier(data.above, _rates(data, here, factor))
    return tuple(made[above] for above in sorted(made))


def _windows(windows: Sequence[WindowData], factor: str | None) -> tuple[Window, ...]:
    made: list[Window] = []
    for at, data in enumerate(windows):
        here = ("windows", at)
        start = _minute(data.start, (*here, "from"))
        if start == DAY_MINUTES:
            raise CatalogueError("a day begins at `00:00`", (*here, "from"))
        end = _minute(data.until, (*here, "until"))
        if start == end % DAY_MINUTES and (start, end) != (0, DAY_MINUTES):
            raise CatalogueError(
                "it ends when it begins; all day is `{from: 00:00, until: 24:00}`", here
            )
        if len(set(data.days)) < len(data.days):
            raise CatalogueError("a day is named twice", (*here, "days"))
        rates, tiers = _rates(data, here, factor), _tiers(data.tiers, here, factor)
        made.append(Window(start, end, rates, tiers, data.days))
    _check_apart(made)
    return tuple(made)


def _check_apart(windows: Sequence[Window]) -> None:
    spans = sorted(
        (start, start + length, at)
        for at, window in enumerate(windows)
        for start, length in window.spans()
    )
    following = [*spans[1:], *((start + WEEK_MINUTES, end, at) for start, end, at in spans[:1])]
    for (_start, end, one), (start, _end, other) in zip(spans, following, strict=True):
        if start < end:
            day, minute = divmod(start % WEEK_MINUTES, DAY_MINUTES)
            when = f"{WEEKDAYS[day]} {minute // 60:02d}:{minute % 60:02d}"
            raise CatalogueError(
                f"`windows[{min(one, other)}]` holds too at {when} (UTC); only one may",
                ("windows", max(one, other)),
            )


def _minute(said: TimeOfDay, place: Place) -> int:
    """The minute of the day, from 0 to 1440."""
    if not isinstance(said, str) or not _TIME_OF_DAY.fullmatch(said):
        raise CatalogueError(f"`{str(said)[:40]}` is no time of the day: write `16:30`", place)
    hours, minutes = said.split(":")
    return int(hours) * 60 + int(minutes)


def _rates(data: PriceData, place: Place, factor: str | None) -> Rates:
    def convert(name: str) -> int | None:
        usd: Usd | None = getattr(data, name)
        return None if usd is None else nanousd_per_mtok(usd, (*place, name), factor)

    return Rates(
        input=nanousd_per_mtok(data.input, (*place, "input"), factor),
        output=nanousd_per_mtok(data.output, (*place, "output"), factor),
        cache_read=convert("cache_read"),
        cache_write=convert("cache_write"),
        cache_write_1h=convert("cache_write_1h"),
    )


def nanousd_per_mtok(usd: str | float, place: Place = (), factor: str | None = None) -> int:
    """USD per million tokens as exact nano-dollars per million tokens, at most a million USD.

    Raises :class:`CatalogueError` with ``place``.
    """
    try:
        value = Decimal(str(usd))
        is_price = 0 <= value <= USD_PER_MTOK_MAX
    except InvalidOperation:
        is_price, value = False, Decimal(0)
    if not is_price:
        raise CatalogueError(f"`{str(usd)[:40]}` is no price in USD per million tokens", place)
    # Fractions of numbers far below the finest price would fill the memory: they are not made.
    is_tiny = value != 0 and value.adjusted() < -PLACES_MAX
    exact = Fraction(0 if is_tiny else value) * NANO * Fraction(factor or 1)
    if is_tiny or exact.denominator != 1:
        raise CatalogueError(f"the price `{str(usd)[:40]}` is finer than a nano-dollar", place)
    return exact.numerator


def near(name: str, known: Iterable[str]) -> str:
    """``: did you mean `x`?`` for the closest known name, else an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean `{close[0]}`?" if close else ""
