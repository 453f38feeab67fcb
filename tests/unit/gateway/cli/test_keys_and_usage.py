"""Keys and accounts: amounts and days as they are typed, what programs read, what is never shown."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.cli.keys import parse_usd
from gateway.cli.main import app
from gateway.cli.usage import FormatName, render_usage
from gateway.errors import StartError
from gateway.ledger.usage import UsageLine, parse_since

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


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_key_has_the_same_words_when_it_is_made_and_listed() -> None:
    """A program that made one finds it again by the same member; only the making shows the key."""
    run("init")
    made = json.loads(run("keys", "create", "--team", "search", "--json"))
    (listed,) = (
        one for one in json.loads(run("keys", "list", "--json")) if one["team"] == "search"
    )
    assert made.pop("key").startswith(listed["shown"])
    assert {name: listed[name] for name in made} == made
    assert {"key_id", "name", "organisation", "team"} == set(made)


def test_an_owner_is_an_admin_too() -> None:
    """The first admin key is an owner's; others have the roles that they were made with."""
    run("init")
    for words in ([], ["--admin"], ["--owner"], ["--admin", "--owner"]):
        run("keys", "create", "--team", "search", "--name", " ".join(["key", *words]), *words)
    listed = json.loads(run("keys", "list", "--json"))
    assert {one["name"]: one["roles"] for one in listed} == {
        "first admin key": "admin owner", "key": "", "key --admin": "admin",
        "key --owner": "admin owner", "key --admin --owner": "admin owner",
    }  # fmt: skip


def test_a_key_given_for_its_id_is_not_shown_again() -> None:
    """It would stand in the log of whatever runs the command."""
    run("init")
    key = json.loads(run("keys", "create", "--team", "search", "--json"))["key"]
    for secret in (key, "an-administrators-own-token"):
        done = CliRunner().invoke(app, ["keys", "revoke", secret])
        assert isinstance(done.exception, StartError)
        assert "`moegate keys list`" in str(done.exception)
        assert secret not in f"{done.exception}{done.output}"


def test_reports_keep_id_and_name_apart() -> None:
    """In a file for programs each has a member or column of its own."""
    lines = [UsageLine(("key_1", "my laptop"), 1, 2, 3, 4, 5, 6, 7, 8)]
    (row,) = json.loads(render_usage(lines, "key", FormatName.JSON))
    assert (row["key_id"], row["name"], row["requests"]) == ("key_1", "my laptop", 1)
    head, first = render_usage(lines, "key", FormatName.CSV).splitlines()
    assert head.startswith("key_id,name,requests,")
    assert first.startswith("key_1,my laptop,1,")


def test_teams_are_shown_with_their_organisation() -> None:
    """Numbers stand to the right, names to the left."""
    lines = [UsageLine(("acme", "search"), 1, 2, 3, 4, 5, 6, 7, 8)]
    head, first = render_usage(lines, "team", FormatName.TABLE).splitlines()
    assert head.split()[:3] == ["organisation", "team", "requests"]
    assert first.split()[:3] == ["acme", "search", "1"]
    assert run("init")
    assert run("usage", "--organisation", "default") == "nothing was used\n"
