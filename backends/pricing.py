"""The one pure price function: settle, reserve and estimate all call :func:`price_tokens`.

Promises: integers only. Rates are nano-dollars per million tokens; the sum over all lines is exact and
is rounded once, half up, to whole nano-dollars (bounds are rounded up). A tier re-prices the whole
request once its input passes the threshold. An unknown price is an error or None, never zero; free must
be said in the catalogue.
"""

from datetime import datetime

import msgspec

from backends.target import Price, Rates, Target
from backends.wire.usage import Usage

PER_MILLION = 10**6

MESSAGE_TOKENS_MAX = 16
"""Template tokens around one message. Published chat templates (ChatML, Llama, DeepSeek, Gemma) add 3
to 8; the JSON around a message, which is counted as text, is longer than that by itself."""
TOOL_TOKENS_MAX = 64
TOOLS_PREAMBLE_TOKENS_MAX = 1024
"""A provider's own words around tools: Anthropic's documentation (tool use, pricing) lists 264 to 804
tokens by model and tool choice."""
REQUEST_TOKENS_MAX = 64


class UnknownPrice(Exception):
    """The target has no price that is valid at the time asked for."""


class CostLine(msgspec.Struct, frozen=True):
    """Part of a bill: ``tokens`` at ``nanousd_per_mtok``; what it comes to is their exact product."""

    name: str
    tokens: int
    nanousd_per_mtok: int


class Cost(msgspec.Struct, frozen=True):
    """A bill: whole nano-dollars, and the lines that it is the rounded sum of."""

    nanousd: int
    lines: tuple[CostLine, ...]


def find_price(target: Target, at: datetime) -> Price | None:
    """The price valid at ``at`` (aware UTC), None if there is none."""
    for price in target.prices:
        if price.valid_from is not None and at < price.valid_from:
            continue
        if price.valid_until is not None and at >= price.valid_until:
            continue
        return price
    return None


def rates_at(price: Price, input_tokens: int) -> Rates:
    """The rates for a request with that many input tokens."""
    rates = price.rates
    for tier in price.tiers:
        if input_tokens > tier.above_input_tokens:
            rates = tier.rates
    return rates


def price_tokens(rates: Rates, usage: Usage) -> tuple[CostLine, ...]:
    """The lines of a bill.

    What is not priced apart costs the input rate; writes for an hour without a rate of their own cost
    the dearer of write and input. Raises ``ValueError`` for parts above the whole.
    """
    fresh = (
        usage.input_tokens
        - usage.cache_read_tokens
        - usage.cache_write_tokens
        - usage.cache_write_1h_tokens
    )
    if fresh < 0 or usage.output_tokens < 0:
        raise ValueError("cached tokens are more than the input tokens they are part of")
    write = rates.input if rates.cache_write is None else rates.cache_write
    write_1h = max(write, rates.input) if rates.cache_write_1h is None else rates.cache_write_1h
    read = rates.input if rates.cache_read is None else rates.cache_read
    lines = (
        CostLine("input", fresh, rates.input),
        CostLine("cache_read", usage.cache_read_tokens, read),
        CostLine("cache_write", usage.cache_write_tokens, write),
        CostLine("cache_write_1h", usage.cache_write_1h_tokens, write_1h),
        CostLine("output", usage.output_tokens, rates.output),
    )
    return tuple(line for line in lines if line.tokens)


def price_usage(target: Target, usage: Usage, at: datetime) -> Cost:
    """What ``usage`` costs. Raises :class:`UnknownPrice`."""
    if target.is_free:
        return Cost(0, (CostLine("free", usage.total_tokens, 0),))
    price = find_price(target, at)
    if price is None:
        raise UnknownPrice(f"`{target.name}` has no price at {at.isoformat()}")
    lines = price_tokens(rates_at(price, usage.input_tokens), usage)
    exact = sum(line.tokens * line.nanousd_per_mtok for line in lines)
    return Cost((exact + PER_MILLION // 2) // PER_MILLION, lines)


def bound_cost(
    target: Target,
    *,
    input_tokens_max: int,
    images: int,
    output_tokens_max: int,
    at: datetime,
) -> int | None:
    """The most that a request can cost, in nano-dollars rounded up; None if there is no price.

    Every input token at the dearest class (fresh, read, written) of the dearest tier that the request
    can reach; a tier that is cheaper than the one below does not lower it.
    """
    if target.is_free:
        return 0
    price = find_price(target, at)
    if price is None:
        return None
    tokens = input_tokens_max + images * target.image_tokens_max
    reachable = [price.rates]
    reachable += [tier.rates for tier in price.tiers if tokens > tier.above_input_tokens]
    dearest_input = max(_dearest_input(rates) for rates in reachable)
    dearest_output = max(rates.output for rates in reachable)
    exact = tokens * dearest_input + output_tokens_max * dearest_output
    return -(-exact // PER_MILLION)


def _dearest_input(rates: Rates) -> int:
    classes = (rates.input, rates.cache_read, rates.cache_write, rates.cache_write_1h)
    return max(rate for rate in classes if rate is not None)


def expected_cost(
    target: Target, *, input_tokens: int, output_tokens: int, at: datetime
) -> int | None:
    """What a request is expected to cost; None if there is no price. For ranking, not for money."""
    if target.is_free:
        return 0
    price = find_price(target, at)
    if price is None:
        return None
    rates = rates_at(price, input_tokens)
    return (input_tokens * rates.input + output_tokens * rates.output) // PER_MILLION


def input_tokens_bound(text_bytes: int, *, messages: int, tools: int) -> int:
    """An upper bound of the input tokens of a text request, whatever the tokenizer.

    ``text_bytes`` are the bytes of its JSON without inline media. A token is at least one byte of
    UTF-8 (byte-level BPE; SentencePiece falls back to bytes); templates and a provider's own words
    around messages and tools are bounded by the constants above.
    """
    bound = text_bytes + REQUEST_TOKENS_MAX + messages * MESSAGE_TOKENS_MAX
    if tools:
        bound += TOOLS_PREAMBLE_TOKENS_MAX + tools * TOOL_TOKENS_MAX
    return bound
