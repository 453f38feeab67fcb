"""Targets: a model at a host, with everything that routing, pricing and calling need to know.

Promises: values are immutable and built once per configuration. Prices are exact integers.
Loading them from data is :mod:`backends.catalogue`; the arithmetic is :mod:`backends.pricing`.
"""

import functools
from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime
from typing import Literal, get_args

import msgspec

from backends.wire.prompt import WireFormat

NAME_CHARS_MAX = 200

Adapter = Literal["gpt", "claude", "gemini", "sglang", "longtail"]
Boundary = Literal["self_hosted", "external"]
Capability = Literal[
    "tools",
    "parallel_tools",
    "images",
    "audio",
    "documents",
    "json_schema",
    "reasoning",
    "seed",
    "logprobs",
    "system",
    "stream",
    "choices",
    "embed",
]
"""What a model can do; one that can ``embed`` gives vectors for texts, and nothing else."""


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tokens cost: integers of nano-dollars per million tokens.

    None means "not priced apart": cache reads and writes then cost the input rate and reasoning
    the output rate.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates for the whole request once its input is longer than ``above_input_tokens``."""

    above_input_tokens: int
    rates: Rates


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hours (UTC) in which other rates hold: on each of ``days`` from ``start_minute`` of the day until before
    ``end_minute``, which is of the next day where it is not the greater. The whole day is 0 until 1440."""

    start_minute: int
    end_minute: int
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    days: tuple[Weekday, ...] = WEEKDAYS

    def spans(self) -> Iterator[tuple[int, int]]:
        """From which minute of the week (Monday 00:00 is 0) it holds for how many minutes, day by day."""
        length = (
            self.end_minute - self.start_minute
            if self.end_minute > self.start_minute
            else self.end_minute + DAY_MINUTES - self.start_minute
        )
        for day in self.days:
            yield WEEKDAYS.index(day) * DAY_MINUTES + self.start_minute, length


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Rates with their validity (aware UTC, end exclusive), tiers in rising order, windows in which others hold
    (no two at one time), and source."""

    rates: Rates
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    tiers: tuple[Tier, ...] = ()
    source: str = ""
    windows: tuple[Window, ...] = ()

    @functools.cached_property
    def week(self) -> "Week":
        """The week that its windows make, laid out once: a request looks up."""
        return _lay_out(self)


class Week(msgspec.Struct, frozen=True):
    """Prices without windows, one after the other: ``prices[n]`` holds from minute ``starts[n]`` of the week (UTC)
    until the next begins, the last until the week is over. ``starts[0]`` is 0."""

    starts: tuple[int, ...]
    prices: tuple[Price, ...]

    def find(self, minute: int) -> Price:
        """What holds at this minute of the week."""
        return self.prices[bisect_right(self.starts, minute) - 1]

    def next_change(self, minute: int) -> int:
        """How many minutes after ``minute`` of the week another price may begin: at least one, a week at most."""
        at = bisect_right(self.starts, minute)
        return (self.starts[at] if at < len(self.starts) else WEEK_MINUTES) - minute


def _lay_out(price: Price) -> Week:
    usual = msgspec.structs.replace(price, windows=())
    changes: dict[int, Price] = {}
    for window in price.windows:
        special = msgspec.structs.replace(usual, rates=window.rates, tiers=window.tiers)
        for start, length in window.spans():
            changes[start] = special
            # Where the next one begins at once, it is that one's.
            changes.setdefault((start + length) % WEEK_MINUTES, usual)
    changes.setdefault(0, changes[max(changes)])
    starts = tuple(sorted(changes))
    return Week(starts, tuple(changes[start] for start in starts))


class Target(msgspec.Struct, frozen=True):
    """A model at a host.

    ``name`` is unique (``anthropic/claude-opus-5-5``), ``provider`` our word for the host
    (``openai``, ``anthropic``, ``gemini``, ``sglang``, ``simulator``, or LiteLLM's name),
    ``model`` what the host is asked for, ``endpoint`` the :class:`Endpoint` by name.
    ``prices`` empty means unknown (never zero); ``is_free`` must be said explicitly.
    ``quality`` is 0..1 or None (unmeasured), ``qualities`` the same for kinds of tasks that were measured apart.
    ``image_tokens_max`` bounds what one image costs.
    """

    name: str
    provider: str
    adapter: Adapter
    format: WireFormat
    model: str
    endpoint: str
    boundary: Boundary
    region: str
    capabilities: frozenset[str]
    context_tokens_max: int
    output_tokens_max: int
    prices: tuple[Price, ...] = ()
    is_free: bool = False
    aliases: tuple[str, ...] = ()
    quality: float | None = None
    qualities: dict[str, float] = {}
    image_tokens_max: int = 3000
    retention_days: int | None = None
    trains_on_inputs: bool | None = None
    description: str = ""


def quality_of(target: Target, task: str | None) -> float | None:
    """How good it is at a kind of task; where that was not measured, or is not known, how good it is as a whole."""
    if task is None:
        return target.quality
    return target.qualities.get(task, target.quality)


class Endpoint(msgspec.Struct, frozen=True):
    """Where and as whom a host is called; the only source of outbound addresses.

    ``base_urls``: one or, for replicas of a cluster, several. ``credential`` is the API key; its
    value never shows in a repr.
    """

    name: str
    base_urls: tuple[str, ...]
    credential: "Secret | None" = None
    timeout_seconds: float = 600.0
    connect_timeout_seconds: float = 5.0
    extra_headers: tuple[tuple[str, str], ...] = ()


Engine = Literal["sglang", "sglang-router", "vllm", "ollama", "lmstudio", "simulator", "openai"]
"""What answers at a self-hosted address; ``openai`` is "speaks the format, name unknown"."""


class ServedModel(msgspec.Struct, frozen=True):
    """One model that a self-hosted server lists; ``context_tokens_max`` is None where not said.
    ``is_embedder``: it gives vectors, not answers."""

    id: str
    context_tokens_max: int | None = None
    is_embedder: bool = False


class SelfHosted(msgspec.Struct, frozen=True):
    """One self-hosted service as found: replicas at ``base_urls`` that serve the same models.

    ``name`` is unique among those found (``sglang``, ``ollama``, ``sglang-2``); ``base_urls`` are
    origins without ``/v1`` (``http://127.0.0.1:30000``); ``models`` is never empty.
    """

    name: str
    engine: Engine
    base_urls: tuple[str, ...]
    models: tuple[ServedModel, ...]


class Secret:
    """Text that never shows by accident: ``repr`` and ``str`` hide it, :meth:`reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself; call it only where it goes on the wire."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def is_plain_name(name: str) -> bool:
    """Whether ``name`` can stand in a header: printable, of bounded length."""
    return 0 < len(name) <= NAME_CHARS_MAX and name.isprintable() and name == name.strip()
