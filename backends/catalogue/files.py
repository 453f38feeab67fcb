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
from itertools import pairwise
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from backends.target import Adapter, Capability, Price, Rates, Tier, Window
from backends.wire.prompt import WireFormat

NANO = 10**9
PLACES_MAX = 9
USD_PER_MTOK_MAX = 10**6
"""A dollar a token: what is dearer is a mistake in the unit."""
IMAGE_TOKENS_UNKNOWN = 16_384
"""The most that one image is to a model that does not say: the upper end of Qwen2-VL's default range (its
model card), the largest among the open ones that we know."""
T = TypeVar("T")
Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times faster where PyYAML was built with libyaml, as its wheels are; safe either way."""

DAY_MINUTES = 24 * 60
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
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
    """A catalogue file that cannot be used; the message is one line with its place."""


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
    """Prices of some hours of each day, ``from`` until ``until`` (UTC, "16:30"); the tiers are those of the hours."""

    start: "TimeOfDay" = msgspec.field(name="from")
    until: "TimeOfDay"
    tiers: tuple[TierData, ...] = ()


TimeOfDay = str | int
"""``16:30``, which YAML reads as a number of minutes (sexagesimal, YAML 1.1), or "16:30"."""


class ModelData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of ``models/*.yaml``. ``regional`` multiplies its prices on a provider's regional hosts."""

    context: Tokens
    output: OutputTokens
    can: tuple[Capability, ...] = ()
    price: PriceData | None = None
    tiers: tuple[TierData, ...] = ()
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
        rates=_rates(data, source, factor),
        tiers=_tiers(tiers, source, factor),
        source=source,
        windows=_windows(windows, source, factor),
    )


def _tiers(tiers: Sequence[TierData], source: str, factor: str | None) -> tuple[Tier, ...]:
    ordered = sorted(tiers, key=lambda tier: tier.above)
    for one, next_one in pairwise(ordered):
        if one.above == next_one.above:
            raise CatalogueError(f"two tiers of {source} begin above {one.above} tokens")
    return tuple(Tier(tier.above, _rates(tier, source, factor)) for tier in ordered)


def _windows(windows: Sequence[WindowData], source: str, factor: str | None) -> tuple[Window, ...]:
    made: list[Window] = []
    taken = bytearray(DAY_MINUTES)
    for data in windows:
        start, end = _minute(data.start), _minute(data.until)
        if start == end:
            raise CatalogueError(f"the window from {_say(start)} until {_say(end)} has no length")
        rates = _rates(data, source, factor)
        window = Window(start, end, rates, _tiers(data.tiers, source, factor))
        for minute in range(DAY_MINUTES):
            if window.holds(minute):
                if taken[minute]:
                    raise CatalogueError(f"two windows of {source} hold at {_say(minute)}")
                taken[minute] = 1
        made.append(window)
    return tuple(made)


def _minute(said: TimeOfDay) -> int:
    """The minute of the day; a day ends at 24:00, which is the next one's 00:00."""
    if isinstance(said, str):
        found = _TIME_OF_DAY.fullmatch(said)
        minute = int(found[1]) * 60 + int(found[2]) if found else -1
    else:
        minute = said
    if not 0 <= minute <= DAY_MINUTES:
        raise CatalogueError(f'`{str(said)[:40]}` is no time of the day: write "16:30" (UTC)')
    return minute % DAY_MINUTES


def _say(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _rates(data: PriceData, where: str, factor: str | None) -> Rates:
    def convert(usd: str | float | None) -> int | None:
        return None if usd is None else nanousd_per_mtok(usd, where, factor)

    return Rates(
        input=nanousd_per_mtok(data.input, where, factor),
        output=nanousd_per_mtok(data.output, where, factor),
        cache_read=convert(data.cache_read),
        cache_write=convert(data.cache_write),
        cache_write_1h=convert(data.cache_write_1h),
    )


def nanousd_per_mtok(usd: str | float, where: str, factor: str | None = None) -> int:
    """USD per million tokens as exact nano-dollars per million tokens, at most a million USD.

    Raises :class:`CatalogueError`.
    """
    try:
        value = Decimal(str(usd))
        is_price = 0 <= value <= USD_PER_MTOK_MAX
    except InvalidOperation:
        is_price, value = False, Decimal(0)
    if not is_price:
        raise CatalogueError(f"`{str(usd)[:40]}` in {where} is no price in USD per million tokens")
    # Fractions of numbers far below the finest price would fill the memory: they are not made.
    is_tiny = value != 0 and value.adjusted() < -PLACES_MAX
    exact = Fraction(0 if is_tiny else value) * NANO * Fraction(factor or 1)
    if is_tiny or exact.denominator != 1:
        raise CatalogueError(f"the price `{str(usd)[:40]}` in {where} is finer than a nano-dollar")
    return exact.numerator


def near(name: str, known: Iterable[str]) -> str:
    """``: did you mean `x`?`` for the closest known name, else an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean `{close[0]}`?" if close else ""
