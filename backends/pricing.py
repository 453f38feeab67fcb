"""The one pure price function: settle, reserve and estimate all call :func:`price_tokens`.

Promises: integers only. Rates are nano-dollars per million tokens; the sum over all lines is exact and
is rounded once, half up, to whole nano-dollars (bounds are rounded up). A tier re-prices the whole
request, output too, once its input passes the threshold. An unknown price is an error or None, never
zero; free must be said in the catalogue.

Does not read prices from data (:mod:`backends.catalogue`) nor count tokens (the codecs do).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from backends.target import DAY_MINUTES, WEEK_MINUTES, Price, Rates, Target, Week
from backends.wire.usage import Usage

PER_MILLION = 10**6

MESSAGE_TOKENS_MAX = 16
"""Template tokens around one message. Published chat templates (ChatML, Llama, DeepSeek, Gemma) add 3
to 8; the JSON around a message, which is counted as text, is longer than that by itself."""
TOOL_TOKENS_MAX = 64
"""Template tokens around one tool, whose JSON is counted as text besides."""
TOOLS_PREAMBLE_TOKENS_MAX = 1024
"""A provider's own words around tools: Anthropic's documentation (tool use, pricing) lists 264 to 804
tokens by model and tool choice."""
REQUEST_TOKENS_MAX = 1024
"""A provider's own words around a request. The largest seen among 921 recorded text prompts is that of
xAI's Grok 4: 687 tokens for "Who are you"; OpenAI's harmony format (openai/harmony, docs/format.md) adds
about 90."""
BOUND_WINDOW = timedelta(hours=1)
"""How long after a bound its request may still be priced: a bill is dated when the answer ends, and a
new price may hold by then. No request may take longer: the settings see to that."""


MINUTE = timedelta(minutes=1)
BOUND_WINDOW_MINUTES = BOUND_WINDOW // MINUTE


class UnknownPrice(LookupError):
    """Nobody has said what the target costs at that time."""


class CostLine(msgspec.Struct, frozen=True):
    """One line of a bill; ``tokens`` times ``nanousd_per_mtok`` / 10^6 is its exact amount."""

    name: str
    tokens: int
    nanousd_per_mtok: int


class Cost(msgspec.Struct, frozen=True):
    """A bill in whole nano-dollars, with every class of tokens that was used."""

    nanousd: int
    lines: tuple[CostLine, ...]


FREE = Rates(input=0, output=0)


def find_price(target: Target, at: datetime) -> Price | None:
    """The price that holds at ``at`` (aware), without windows; of several the one that began last. None:
    unknown.

    Raises ``ValueError`` for a time without a zone.
    """
    at = _utc(at)
    found: Price | None = None
    for price in target.prices:
        has_begun = price.valid_from is None or price.valid_from <= at
        has_ended = price.valid_until is not None and at >= price.valid_until
        if has_begun and not has_ended and (found is None or _began_later(price, found)):
            found = price
    if found is None or not found.windows:
        return found
    return found.week.find(_minute_of_week(at))


def date_bill(ended: datetime, quoted: datetime) -> datetime:
    """The moment whose prices a bill takes: when the answer ended, and never one that the bound made at
    ``quoted`` does not cover, though the clock was set, or the computer slept, meanwhile."""
    first = _utc(quoted)
    return min(max(_utc(ended), first), first + BOUND_WINDOW)


def price_usage(target: Target, usage: Usage, at: datetime) -> Cost:
    """What ``usage`` costs at ``target`` at ``at`` (aware UTC).

    Raises :class:`UnknownPrice`, and ``ValueError`` for counts that cannot be.
    """
    price = _known_price(target, at)
    if price is None:
        raise UnknownPrice(f"the price of `{target.name}` at {at.isoformat()} is not known")
    lines = price_tokens(price, usage)
    return Cost(_half_up(_exact(lines)), lines)


def bound_cost(
    target: Target,
    *,
    input_tokens_max: int,
    images: int,
    output_tokens_max: int,
    at: datetime,
    other_media: int = 0,
) -> int | None:
    """Nano-dollars that no usage within these limits can pass, billed from ``at`` until
    :data:`BOUND_WINDOW` later; rounded up. None: there is no such number, as a price is not known.

    Every tier that the input can reach is tried with all of its input in the dearest class. An image is
    ``image_tokens_max`` of the target; ``other_media`` counts audio and documents, whose tokens nothing
    in the request bounds: then the whole context of the target, beyond which it refuses, is reserved.
    """
    at = _utc(at)
    input_max = input_tokens_max + images * target.image_tokens_max
    if other_media:
        input_max = max(input_max, target.context_tokens_max)
    worst = 0
    for price in _prices_within(target, at):
        if price is None:
            return None
        for usage in _worst_usages(price, input_max, output_tokens_max):
            worst = max(worst, _up(_exact(price_tokens(price, usage))))
    return worst


def expected_cost(
    target: Target,
    *,
    input_tokens: int,
    output_tokens: int,
    at: datetime,
    cache_read_tokens: int = 0,
) -> int | None:
    """Nano-dollars of a usage of which so much is read from a cache, and nothing written; for ranking. None: the
    price is not known."""
    price = _known_price(target, at)
    if price is None:
        return None
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=min(cache_read_tokens, input_tokens),
    )
    return _half_up(_exact(price_tokens(price, usage)))


def input_tokens_bound(text_bytes: int, *, messages: int, tools: int) -> int:
    """Tokens that a prompt of ``text_bytes`` UTF-8 bytes cannot pass in any tokenizer, media apart.

    A token of a byte-level BPE, or of SentencePiece with byte fallback, stands for at least one byte of
    text, so text has at most as many tokens as bytes (Sennrich et al. 2016; Kudo and Richardson 2018).
    Templates add a fixed number around each message, each tool, the tools as a whole and the request.
    """
    around = messages * MESSAGE_TOKENS_MAX + tools * TOOL_TOKENS_MAX + REQUEST_TOKENS_MAX
    return text_bytes + around + (TOOLS_PREAMBLE_TOKENS_MAX if tools else 0)


def price_tokens(price: Price, usage: Usage) -> tuple[CostLine, ...]:
    """The lines of a bill: every class of tokens at its rate in the tier that the input reaches.

    Input without cache and output always have a line, the other classes where used. Raises
    ``ValueError`` for negative counts and for parts that are larger than their whole.
    """
    rates = find_rates(price, usage.input_tokens)
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    write_1h = usage.cache_write_1h_tokens
    plain = usage.input_tokens - read - write - write_1h
    if min(plain, read, write, write_1h, usage.output_tokens) < 0:
        raise ValueError("a usage has negative counts, or more cached tokens than input")
    lines = [CostLine("input", plain, rates.input)]
    if read:
        lines.append(CostLine("cache_read", read, _cache_read_rate(rates)))
    if write:
        lines.append(CostLine("cache_write", write, _cache_write_rate(rates)))
    if write_1h:
        lines.append(CostLine("cache_write_1h", write_1h, _cache_write_1h_rate(rates)))
    lines.append(CostLine("output", usage.output_tokens, rates.output))
    return tuple(lines)


def find_rates(price: Price, input_tokens: int) -> Rates:
    """The rates of a request whose whole input, cached or not, is ``input_tokens`` long."""
    rates = price.rates
    for tier in price.tiers:
        if input_tokens > tier.above_input_tokens:
            rates = tier.rates
    return rates


def _cache_read_rate(rates: Rates) -> int:
    return rates.input if rates.cache_read is None else rates.cache_read


def _cache_write_rate(rates: Rates) -> int:
    return rates.input if rates.cache_write is None else rates.cache_write


def _cache_write_1h_rate(rates: Rates) -> int:
    """Where one hour is not priced apart, it costs what five minutes do."""
    return _cache_write_rate(rates) if rates.cache_write_1h is None else rates.cache_write_1h


def _known_price(target: Target, at: datetime) -> Price | None:
    if target.is_free:
        return Price(FREE, source="free")
    return find_price(target, at)


def _prices_within(target: Target, start: datetime) -> Iterator[Price | None]:
    """Every price that holds at some moment from ``start`` (UTC) until :data:`BOUND_WINDOW` later, that one too;
    None for a gap."""
    yield _known_price(target, start)
    if target.is_free:
        return
    end = start + BOUND_WINDOW
    for price in target.prices:
        for moment in (price.valid_from, price.valid_until):
            if moment is not None and start < moment <= end:
                yield _known_price(target, moment)
        if price.windows:
            for moment in _changes(price.week, start):
                yield _known_price(target, moment)


def _changes(week: Week, start: datetime) -> Iterator[datetime]:
    """When another price of ``week`` begins, after ``start`` (UTC) and within the window of a bound."""
    minute = _minute_of_week(start)
    wait = week.next_change(minute)
    if wait > BOUND_WINDOW_MINUTES:  # As nearly always; the rest takes a while.
        return
    moment = start.replace(second=0, microsecond=0) + wait * MINUTE
    while moment <= start + BOUND_WINDOW:
        yield moment
        minute = (minute + wait) % WEEK_MINUTES
        wait = week.next_change(minute)
        moment += wait * MINUTE


def _worst_usages(price: Price, input_max: int, output_max: int) -> Iterator[Usage]:
    """For each tier that can be reached the dearest usage in it: a cost only grows with its counts."""
    thresholds = [tier.above_input_tokens for tier in price.tiers]
    for longest in (*(limit for limit in thresholds if limit < input_max), input_max):
        rates = find_rates(price, longest)
        writes = _cache_write_rate(rates)
        dearest = max(rates.input, _cache_read_rate(rates), writes, _cache_write_1h_rate(rates))
        if dearest == rates.input:
            yield Usage(longest, output_max)
        elif dearest == writes:
            yield Usage(longest, output_max, cache_write_tokens=longest)
        elif dearest == _cache_write_1h_rate(rates):
            yield Usage(longest, output_max, cache_write_1h_tokens=longest)
        else:
            yield Usage(longest, output_max, cache_read_tokens=longest)


def _exact(lines: tuple[CostLine, ...]) -> int:
    """The sum of all lines in millionths of a nano-dollar."""
    return sum(line.tokens * line.nanousd_per_mtok for line in lines)


def _half_up(millionths: int) -> int:
    return (millionths + PER_MILLION // 2) // PER_MILLION


def _up(millionths: int) -> int:
    return -(-millionths // PER_MILLION)


def _began_later(price: Price, other: Price) -> bool:
    """Of two that hold, the later start wins; of equal ones the one that is listed last."""
    if price.valid_from is None or other.valid_from is None:
        return price.valid_from is not None or other.valid_from is None
    return price.valid_from >= other.valid_from


def _utc(at: datetime) -> datetime:
    """``at`` in UTC: where clocks are put forward and back, an hour later is not an hour later."""
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        raise ValueError("a price is asked for at a time without a zone")
    return at.astimezone(UTC)


def _minute_of_week(utc: datetime) -> int:
    return utc.weekday() * DAY_MINUTES + utc.hour * 60 + utc.minute
