"""Prices by the hour: the right rates at each moment, and bounds that no later moment's bill passes."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.pricing import (
    BOUND_WINDOW,
    bound_cost,
    date_bill,
    expected_cost,
    find_price,
    price_usage,
)
from backends.target import WEEKDAYS, Price, Rates, Window
from backends.wire.usage import Usage
from gateway.settings import REQUEST_SECONDS_MAX
from tests.unit.backends.prices import NOW, rates, target, usages, windowed_prices

MIDNIGHT = NOW.replace(hour=0)
CHEAP, DEAR = Rates(10**6, 10**6), Rates(10**9, 10**9)
WORKDAYS = WEEKDAYS[:5]
BERLIN = ZoneInfo("Europe/Berlin")

moments = st.datetimes(
    datetime(2026, 11, 22),  # noqa: DTZ001  # the strategy adds the zone
    datetime(2026, 12, 1),  # noqa: DTZ001  # likewise
    timezones=st.just(UTC),
)
zones = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=11)), BERLIN]
)
within = st.timedeltas(timedelta(), BOUND_WINDOW)


def minute_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%a %H:%M").lower()


def walk(price: Price) -> dict[str, Window]:
    """Another way: go through every window minute by minute, on each of its days."""
    found: dict[str, Window] = {}
    for window in price.windows:
        for day in window.days:
            midnight = next(
                one for n in range(7) if minute_of(one := MIDNIGHT + timedelta(days=n))[:3] == day
            )
            minute = midnight + timedelta(minutes=window.start_minute)
            while True:
                found[minute_of(minute)] = window
                minute += timedelta(minutes=1)
                if minute.hour * 60 + minute.minute == window.end_minute % 1440:
                    break
    return found


@given(windowed_prices(), moments, zones)
def test_the_hour_of_the_week_names_the_rates(
    price: Price, at: datetime, zone: timezone | ZoneInfo
) -> None:
    """In a window its rates and tiers, at its end no more; in any zone that says the same moment."""
    found = find_price(target(price), at.astimezone(zone))
    assert found is not None
    holding = walk(price).get(minute_of(at), price)
    assert (found.rates, found.tiers) == (holding.rates, holding.tiers)
    assert found.windows == ()


@given(windowed_prices(), windowed_prices(), moments, moments, zones, usages(), within)
def test_no_bill_of_any_hour_passes_the_bound(
    old: Price, new: Price, since: datetime, at: datetime, zone: timezone | ZoneInfo,
    usage: Usage, later: timedelta,
) -> None:  # fmt: skip
    """From cheap hours into dear ones, over midnight, Sunday and the day when another price begins."""
    offered = target(old, msgspec.structs.replace(new, valid_from=since))
    bound = bound_cost(
        offered,
        input_tokens_max=usage.input_tokens,
        images=0,
        output_tokens_max=usage.output_tokens,
        at=at.astimezone(zone),
    )
    assert bound is not None
    assert price_usage(offered, usage, at + later).nanousd <= bound


@given(windowed_prices(), moments, usages())
def test_a_bound_is_the_worst_of_the_minutes_that_it_covers(
    price: Price, at: datetime, usage: Usage
) -> None:
    """And not more: what is dear later than that holds no money."""
    limits = {
        "input_tokens_max": usage.input_tokens,
        "images": 0,
        "output_tokens_max": usage.output_tokens,
    }
    by_minute, whole = walk(price), at.replace(second=0, microsecond=0)
    later = [whole + timedelta(minutes=n) for n in range(1, 61)]
    seen = {
        id(holding): Price(holding.rates, tiers=holding.tiers)
        for one in (at, *later)
        if one <= at + BOUND_WINDOW
        for holding in [by_minute.get(minute_of(one), price)]
    }
    each = [bound_cost(target(one), **limits, at=at) for one in seen.values()]
    assert bound_cost(target(price), **limits, at=at) == max(one for one in each if one is not None)


@pytest.mark.parametrize(
    ("hour", "minute", "bound"),
    [(10, 59, 10**6), (11, 0, 10**9), (12, 59, 10**9), (13, 0, 10**6), (3, 0, 10**6)],
)
def test_a_bound_counts_what_begins_within_the_hour(hour: int, minute: int, bound: int) -> None:
    """An hour later, to the minute, is counted; a minute more is not."""
    offered = target(Price(CHEAP, windows=(Window(12 * 60, 13 * 60, DEAR),)))
    at = NOW.replace(hour=hour, minute=minute)
    limits = {"input_tokens_max": 10**6, "images": 0, "output_tokens_max": 0}
    assert bound_cost(offered, **limits, at=at) == bound


@pytest.mark.parametrize(("begins", "bound"), [(75, 10**9), (76, 10**6), (105, 10**6)])
def test_an_hour_is_an_hour_though_clocks_are_put_back(begins: int, bound: int) -> None:
    """02:15 in Berlin is 00:15 UTC, and an hour later it is 02:15 again, not 03:15."""
    at = datetime(2026, 10, 25, 2, 15, tzinfo=BERLIN)
    offered = target(Price(CHEAP, windows=(Window(begins, 120, DEAR),)))
    limits = {"input_tokens_max": 10**6, "images": 0, "output_tokens_max": 0}
    assert bound_cost(offered, **limits, at=at) == bound


def test_days_are_those_on_which_a_window_begins() -> None:
    """Friday's night goes on into Saturday, Sunday's into the next week, and nobody else's."""
    night = Window(22 * 60, 6 * 60, CHEAP, days=("fri", "sun"))
    offered = target(Price(DEAR, windows=(night,)))

    def is_cheap(day: int, hour: int) -> bool:
        found = find_price(offered, MIDNIGHT + timedelta(days=day, hours=hour))
        return found is not None and found.rates == CHEAP

    assert [is_cheap(4, 21), is_cheap(4, 22), is_cheap(5, 5), is_cheap(5, 6)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert [is_cheap(5, 23), is_cheap(6, 5), is_cheap(6, 23), is_cheap(7, 5), is_cheap(8, 5)] == [
        False, False, True, True, False,
    ]  # fmt: skip


def test_what_is_expected_follows_the_hour() -> None:
    """So that ranking moves to a host while it is cheap."""
    offered = target(Price(DEAR, windows=(Window(16 * 60 + 30, 30, CHEAP, days=WORKDAYS),)))
    sizes = {"input_tokens": 10**6, "output_tokens": 0}
    times = [NOW, NOW.replace(hour=17), NOW + timedelta(days=5, hours=5)]
    assert [expected_cost(offered, **sizes, at=at) for at in times] == [10**9, 10**6, 10**9]


def test_a_window_keeps_the_days_of_its_price() -> None:
    """What is announced for January is cheap at night from then on, and not before."""
    january = datetime(2027, 1, 1, tzinfo=UTC)
    night = Window(0, 6 * 60, CHEAP)
    usual = Price(DEAR)
    offered = target(usual, Price(DEAR, valid_from=january, windows=(night,)))
    before, after = january - timedelta(days=1) + timedelta(hours=1), january
    assert find_price(offered, before) is usual
    found = find_price(offered, after)
    assert found == Price(CHEAP, valid_from=january)


@given(moments, st.timedeltas(-timedelta(days=2), timedelta(days=2)))
@example(NOW, timedelta())
def test_a_bill_is_dated_within_its_bound(quoted: datetime, passed: timedelta) -> None:
    """When the answer ended; a clock that was set, or a computer that slept, moves it no further."""
    dated = date_bill(quoted + passed, quoted)
    assert quoted <= dated <= quoted + BOUND_WINDOW
    if timedelta() <= passed <= BOUND_WINDOW:
        assert dated == quoted + passed


def test_a_request_is_over_within_what_its_bound_covers() -> None:
    """With time left to book it."""
    assert timedelta(seconds=REQUEST_SECONDS_MAX + 30) < BOUND_WINDOW


@given(rates)
def test_a_price_without_windows_is_taken_as_it_is(usual: Rates) -> None:
    """Nothing is made for it, at any hour."""
    price = Price(usual)
    assert find_price(target(price), NOW) is price
