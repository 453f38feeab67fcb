"""Money: exact sums, rounded once; bounds that no bill passes; nothing unknown is ever free."""

from datetime import timedelta
from fractions import Fraction
from math import ceil, floor

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from backends.pricing import (
    BOUND_WINDOW,
    UnknownPrice,
    bound_cost,
    expected_cost,
    find_price,
    find_rates,
    input_tokens_bound,
    price_tokens,
    price_usage,
)
from backends.target import Price, Rates, Tier
from backends.wire.usage import Usage
from tests.unit.backends.prices import NOW, USD_PER_MTOK, price_values, target, usages

OPUS = Price(
    Rates(
        input=4 * USD_PER_MTOK,
        output=20 * USD_PER_MTOK,
        cache_read=USD_PER_MTOK // 5,
        cache_write=5 * USD_PER_MTOK,
        cache_write_1h=8 * USD_PER_MTOK,
    )
)
SOL = Price(
    Rates(2 * USD_PER_MTOK, 10 * USD_PER_MTOK, cache_read=USD_PER_MTOK // 5),
    tiers=(Tier(272_000, Rates(4 * USD_PER_MTOK, 15 * USD_PER_MTOK, USD_PER_MTOK * 2 // 5)),),
)


def oracle(price: Price, usage: Usage) -> Fraction:
    """The exact amount in nano-dollars, by another way: a fraction for each token class."""
    used = price.rates
    for tier in sorted(price.tiers, key=lambda one: one.above_input_tokens):
        if usage.input_tokens > tier.above_input_tokens:
            used = tier.rates
    write = used.input if used.cache_write is None else used.cache_write
    each = {
        used.input if used.cache_read is None else used.cache_read: usage.cache_read_tokens,
    }
    plain = (
        usage.input_tokens
        - usage.cache_read_tokens
        - usage.cache_write_tokens
        - usage.cache_write_1h_tokens
    )
    exact = sum(Fraction(rate, 10**6) * tokens for rate, tokens in each.items())
    exact += Fraction(used.input, 10**6) * plain
    exact += Fraction(write, 10**6) * usage.cache_write_tokens
    longer = write if used.cache_write_1h is None else used.cache_write_1h
    exact += Fraction(longer, 10**6) * usage.cache_write_1h_tokens
    return exact + Fraction(used.output, 10**6) * usage.output_tokens


@given(price_values(), usages())
def test_a_bill_is_the_exact_sum_rounded_half_up_once(price: Price, usage: Usage) -> None:
    """Against fractions: no rounding per line, no float."""
    cost = price_usage(target(price), usage, NOW)
    assert cost.nanousd == floor(oracle(price, usage) + Fraction(1, 2))
    assert type(cost.nanousd) is int


@given(price_values(), usages())
def test_the_lines_of_a_bill_are_its_whole(price: Price, usage: Usage) -> None:
    """Every token stands in one line, and the lines add up to the amount."""
    cost = price_usage(target(price), usage, NOW)
    assert sum(line.tokens for line in cost.lines) == usage.total_tokens
    exact = sum(Fraction(line.tokens * line.nanousd_per_mtok, 10**6) for line in cost.lines)
    assert cost.nanousd == floor(exact + Fraction(1, 2))


@given(price_values(), st.data())
def test_no_usage_within_the_limits_passes_the_bound(price: Price, data: st.DataObject) -> None:
    """The reservation covers every way in which the tokens may fall into classes and tiers."""
    input_max = data.draw(st.integers(0, 2_500_000))
    output_max = data.draw(st.integers(0, 100_000))
    used = data.draw(usages(input_max, output_max))
    at_home = target(price)
    bound = bound_cost(
        at_home, input_tokens_max=input_max, images=0, output_tokens_max=output_max, at=NOW
    )
    assert bound is not None
    assert price_usage(at_home, used, NOW).nanousd <= bound


@given(price_values(), price_values(), usages(), st.integers(0, 3600), st.integers(1, 7200))
def test_the_bound_holds_when_the_price_changes_before_the_bill(
    old: Price, new: Price, usage: Usage, billed: int, change: int
) -> None:
    """A new price that begins between reservation and settlement is reserved for as well."""
    since = NOW + timedelta(seconds=change)
    replaced = target(old, msgspec.structs.replace(new, valid_from=since))
    bound = bound_cost(
        replaced,
        input_tokens_max=usage.input_tokens,
        images=0,
        output_tokens_max=usage.output_tokens,
        at=NOW,
    )
    assert bound is not None
    assert price_usage(replaced, usage, NOW + timedelta(seconds=billed)).nanousd <= bound


@given(price_values(), usages(100_000), usages(100_000))
def test_two_usages_of_one_tier_add_up(price: Price, one: Usage, other: Usage) -> None:
    """Exact amounts are additive as long as the tier is the same."""
    both = Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cache_read_tokens + other.cache_read_tokens,
        one.cache_write_tokens + other.cache_write_tokens,
        one.cache_write_1h_tokens + other.cache_write_1h_tokens,
    )
    tiers = {find_rates(price, usage.input_tokens) for usage in (one, other, both)}
    assume(len(tiers) == 1)
    amounts = [
        sum(line.tokens * line.nanousd_per_mtok for line in price_tokens(price, usage))
        for usage in (one, other, both)
    ]
    assert amounts[0] + amounts[1] == amounts[2]


@given(price_values(), usages())
@example(OPUS, Usage(1, 0))
def test_the_bound_of_a_usage_is_never_below_its_expected_cost(price: Price, usage: Usage) -> None:
    """Ranking and reserving come from the same function."""
    sizes = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    expected = expected_cost(target(price), **sizes, at=NOW)
    bound = bound_cost(
        target(price),
        input_tokens_max=usage.input_tokens,
        images=0,
        output_tokens_max=usage.output_tokens,
        at=NOW,
    )
    assert expected is not None
    assert bound is not None
    assert expected <= bound


def test_cache_classes_have_their_own_rates() -> None:
    """Reads, five-minute writes and one-hour writes of Claude Opus 5.5, worked by hand."""
    usage = Usage(10_000, 800, 6_000, 1_000, 500, reasoning_tokens=300)
    cost = price_usage(target(OPUS), usage, NOW)
    assert [(line.name, line.tokens) for line in cost.lines] == [
        ("input", 2_500),
        ("cache_read", 6_000),
        ("cache_write", 1_000),
        ("cache_write_1h", 500),
        ("output", 800),
    ]
    assert cost.nanousd == 10_000_000 + 1_200_000 + 5_000_000 + 4_000_000 + 16_000_000


def test_a_tier_prices_the_whole_request_anew_above_its_threshold() -> None:
    """272,000 tokens cost the base rates, one more costs the others for all of them and the output."""
    at_limit = price_usage(target(SOL), Usage(272_000, 1_000, 100_000), NOW)
    above = price_usage(target(SOL), Usage(272_001, 1_000, 100_000), NOW)
    assert at_limit.nanousd == (172_000 * 2 + 1_000 * 10) * 1000 + 100_000 * 200
    assert above.nanousd == (172_001 * 4 + 1_000 * 15) * 1000 + 100_000 * 400


def test_cached_tokens_reach_a_tier_like_others() -> None:
    """The threshold compares the whole input, though most of it was read from the cache."""
    cost = price_usage(target(SOL), Usage(300_000, 0, 299_000), NOW)
    assert {line.nanousd_per_mtok for line in cost.lines} == {
        4 * USD_PER_MTOK,
        USD_PER_MTOK * 2 // 5,
        15 * USD_PER_MTOK,
    }


@pytest.mark.parametrize(("tokens", "nanousd"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_half_a_nano_dollar_is_rounded_up(tokens: int, nanousd: int) -> None:
    """At 0.4 nano-dollars a token: 0.4, 0.8, 1.2, 1.6."""
    price = Price(Rates(400_000, 0))
    assert price_usage(target(price), Usage(tokens), NOW).nanousd == nanousd


def test_the_half_itself_goes_up_and_only_the_sum_is_rounded() -> None:
    """0.25 and 0.25 are 0.5, so 1; rounded by line they would be 0."""
    price = Price(Rates(250_000, 250_000))
    assert price_usage(target(price), Usage(1, 1), NOW).nanousd == 1


def test_a_bound_is_rounded_up() -> None:
    """The smallest part of a nano-dollar is reserved as a whole one."""
    price = Price(Rates(1, 0))
    bound = bound_cost(target(price), input_tokens_max=1, images=0, output_tokens_max=0, at=NOW)
    assert bound == 1


def test_an_unknown_price_is_an_error_and_never_zero() -> None:
    """Settling raises; reserving and ranking have no number."""
    unknown = target()
    with pytest.raises(UnknownPrice, match="host/model"):
        price_usage(unknown, Usage(1, 1), NOW)
    assert expected_cost(unknown, input_tokens=1, output_tokens=1, at=NOW) is None
    limits = {"input_tokens_max": 1, "images": 0, "output_tokens_max": 1}
    assert bound_cost(unknown, **limits, at=NOW) is None


def test_free_is_said_in_the_bill() -> None:
    """Nothing to pay, and the tokens are on the bill all the same."""
    cost = price_usage(target(is_free=True), Usage(7, 3, 2), NOW)
    assert cost.nanousd == 0
    assert [(line.name, line.tokens, line.nanousd_per_mtok) for line in cost.lines] == [
        ("input", 5, 0),
        ("cache_read", 2, 0),
        ("output", 3, 0),
    ]


@pytest.mark.parametrize(
    "usage",
    [
        Usage(-1),
        Usage(1, -1),
        Usage(1, 0, 2),
        Usage(5, 0, 3, 3),
        Usage(5, 0, -1),
        Usage(1, 0, 0, 0, 2),
    ],
)
def test_counts_that_cannot_be_are_refused(usage: Usage) -> None:
    """A negative line would make a bill smaller."""
    with pytest.raises(ValueError, match="negative counts"):
        price_usage(target(OPUS), usage, NOW)


def test_cache_without_a_price_of_its_own_costs_what_input_does() -> None:
    """A gap in the data is dear, not free; one hour without a rate costs what five minutes do."""
    plain = Price(Rates(3 * USD_PER_MTOK, USD_PER_MTOK))
    assert price_usage(target(plain), Usage(30, 0, 10, 10, 10), NOW).nanousd == 90_000
    written = Price(Rates(3 * USD_PER_MTOK, 0, cache_write=4 * USD_PER_MTOK))
    assert price_usage(target(written), Usage(10, 0, 0, 0, 10), NOW).nanousd == 40_000


def test_prices_hold_from_their_first_moment_until_before_their_last() -> None:
    """A price that began later wins while it holds; afterwards the one before is back."""
    start, end = NOW, NOW + timedelta(days=1)
    usual, special = Price(Rates(2, 2)), Price(Rates(1, 1), valid_from=start, valid_until=end)
    for order in ((usual, special), (special, usual)):
        offered = target(*order)
        assert find_price(offered, start - timedelta(microseconds=1)) is usual
        assert find_price(offered, start) is special
        assert find_price(offered, end - timedelta(microseconds=1)) is special
        assert find_price(offered, end) is usual


def test_of_two_prices_with_one_beginning_the_last_listed_counts() -> None:
    """A correction stands below what it corrects."""
    first, second = (Price(Rates(n, n), valid_from=NOW) for n in (1, 2))
    assert find_price(target(first, second), NOW) is second
    older, newer = Price(Rates(1, 1)), Price(Rates(2, 2))
    assert find_price(target(older, newer), NOW) is newer


def test_there_is_no_bound_across_a_gap_between_prices() -> None:
    """A price that ends within the hour without a successor might leave the bill without one."""
    ending = target(Price(Rates(1, 1), valid_until=NOW + BOUND_WINDOW / 2))
    limits = {"input_tokens_max": 1, "images": 0, "output_tokens_max": 1}
    assert bound_cost(ending, **limits, at=NOW) is None
    assert bound_cost(ending, **limits, at=NOW - BOUND_WINDOW) is not None


def test_a_time_without_a_zone_is_refused() -> None:
    """Which price holds would depend on where the process runs."""
    with pytest.raises(ValueError, match="zone"):
        find_price(target(OPUS), NOW.replace(tzinfo=None))


def test_images_and_other_media_are_bounded() -> None:
    """An image is the target's maximum; for a document, whose length nobody knows, the whole context."""
    priced = target(Price(Rates(10**6, 0)), image_tokens_max=1_600)

    def bound(images: int, other: int) -> int | None:
        return bound_cost(
            priced,
            input_tokens_max=100,
            images=images,
            output_tokens_max=0,
            at=NOW,
            other_media=other,
        )

    assert bound(0, 0) == 100
    assert bound(2, 0) == 100 + 2 * 1_600
    assert bound(0, 1) == priced.context_tokens_max


def test_the_dearest_tier_is_found_where_the_last_is_not_the_dearest() -> None:
    """A provider may make long prompts cheaper: then the threshold itself is the worst case."""
    price = Price(Rates(5 * 10**6, 0), tiers=(Tier(1_000, Rates(10**6, 0)),))
    bound = bound_cost(target(price), input_tokens_max=2_000, images=0, output_tokens_max=0, at=NOW)
    assert bound == 5_000


@given(st.text(max_size=300), st.integers(1, 20), st.integers(0, 5))
def test_the_token_bound_covers_byte_level_text_and_its_templates(
    text: str, messages: int, tools: int
) -> None:
    """Even a tokenizer without a single merge, with eight tokens around every message, stays below."""
    data = len(text.encode("utf-8", "surrogatepass"))
    worst = data + messages * 8 + tools * 32 + (804 if tools else 0) + 90
    assert input_tokens_bound(data, messages=messages, tools=tools) >= worst


@given(price_values(), st.integers(0, 2_000_000), st.integers(0, 10_000))
def test_the_bound_is_tight_for_one_of_the_usages(price: Price, size: int, output: int) -> None:
    """It is the cost of some usage rounded up, so that no money is held for nothing."""
    bound = bound_cost(
        target(price), input_tokens_max=size, images=0, output_tokens_max=output, at=NOW
    )
    reached = [tier.above_input_tokens for tier in price.tiers if tier.above_input_tokens < size]
    possible = [
        usage
        for longest in (*reached, size)
        for usage in (
            Usage(longest, output),
            Usage(longest, output, longest),
            Usage(longest, output, 0, longest),
            Usage(longest, output, 0, 0, longest),
        )
    ]
    assert bound == max(ceil(oracle(price, usage)) for usage in possible)


def test_what_is_read_from_a_cache_is_expected_at_its_rate() -> None:
    """At most all of the input."""
    offered = target(OPUS)

    def expect(cached: int) -> int | None:
        return expected_cost(
            offered, input_tokens=1000, output_tokens=0, at=NOW, cache_read_tokens=cached
        )

    assert [expect(0), expect(500), expect(1000), expect(5000)] == [
        4_000_000, 2_100_000, 200_000, 200_000,
    ]  # fmt: skip
