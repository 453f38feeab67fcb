"""Targets, prices and usages for tests of money."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from backends.target import WEEKDAYS, Price, Rates, Target, Tier, Window
from backends.wire.usage import Usage

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""A Monday."""
USD_PER_MTOK = 10**9


def target(*prices: Price, is_free: bool = False, image_tokens_max: int = 3000) -> Target:
    return Target(
        name="host/model",
        provider="host",
        adapter="gpt",
        format="openai-chat",
        model="model",
        endpoint="host",
        boundary="external",
        region="us",
        capabilities=frozenset(),
        context_tokens_max=1_000_000,
        output_tokens_max=64_000,
        prices=prices,
        is_free=is_free,
        image_tokens_max=image_tokens_max,
    )


amounts = st.one_of(st.integers(0, 10**12), st.sampled_from([0, 1, 37_500_000, 2 * USD_PER_MTOK]))
rates = st.builds(
    Rates, amounts, amounts, st.none() | amounts, st.none() | amounts, st.none() | amounts
)


@st.composite
def price_values(draw: st.DrawFn) -> Price:
    limits = sorted(draw(st.sets(st.integers(1, 2_000_000), max_size=3)))
    return Price(draw(rates), tiers=tuple(Tier(limit, draw(rates)) for limit in limits))


@st.composite
def usages(draw: st.DrawFn, input_max: int = 3_000_000, output_max: int = 1_000_000) -> Usage:
    total = draw(st.integers(0, input_max))
    read = draw(st.integers(0, total))
    write = draw(st.integers(0, total - read))
    write_1h = draw(st.integers(0, total - read - write))
    output = draw(st.integers(0, output_max))
    return Usage(total, output, read, write, write_1h, draw(st.integers(0, output)))


def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    limits = sorted(draw(st.sets(st.integers(1, 2_000_000), max_size=3)))
    return tuple(Tier(limit, draw(rates)) for limit in limits)


@st.composite
def windowed_prices(draw: st.DrawFn) -> Price:
    """A week cut into pieces, some of which have rates of their own; over midnight, over Sunday's, all day, and
    one beginning where another ends."""
    cuts = sorted(draw(st.sets(st.integers(0, 7 * 24 * 4 - 1), min_size=1, max_size=8)))
    made: list[Window] = []
    for cut, following in zip(cuts, [*cuts[1:], cuts[0] + 7 * 24 * 4], strict=True):
        day, start = divmod(cut * 15, 24 * 60)
        length = min((following - cut) * 15, draw(st.sampled_from([15, 60, 450, 24 * 60])))
        if length == 24 * 60 and start:
            length -= 15
        end = start + length if start + length <= 24 * 60 else start + length - 24 * 60
        if draw(st.booleans()):
            made.append(Window(start, end, draw(rates), tiers(draw), (WEEKDAYS[day],)))
    return Price(draw(rates), tiers=tiers(draw), windows=tuple(draw(st.permutations(made))))
