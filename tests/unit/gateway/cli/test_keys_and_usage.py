"""Amounts and days as they are typed: exact, or refused in one line."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.keys import parse_usd
from gateway.cli.usage import parse_since
from gateway.errors import StartError

NOW = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)


@given(nanousd=st.integers(0, 10**18))
def test_dollars_become_exact_nano_dollars(nanousd: int) -> None:
    """Whatever amount of nano-dollars is written out in dollars comes back as it was."""
    assert parse_usd(f"{Decimal(nanousd).scaleb(-9):f}") == nanousd


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "NaN",
        "sNaN",
        "Infinity",
        "-1",
        "0.0000000001",
        "1e400",
        "1e999999",
        "1" * 400,
        "1.0000000000000000000000000001",
        "١",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Words, what is not finite or finer than a nano-dollar, and what nobody can have."""
    with pytest.raises(StartError, match="`"):
        parse_usd(text)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("0d", "2026-11-23"),
        ("7d", "2026-11-16"),
        ("99999d", "1753-02-08"),
        ("2026-02-28", "2026-02-28"),
    ],
)
def test_days_are_utc_dates(text: str, day: str) -> None:
    """A number of days counts back from today in UTC; a date is itself."""
    assert parse_since(text, NOW) == day


@pytest.mark.parametrize(
    "text", ["", "7", "7 days", "2026-02-30", "23.11.2026", "-1d", "99999999d"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    """Anything else names the two forms that work."""
    with pytest.raises(StartError, match="neither"):
        parse_since(text, NOW)
