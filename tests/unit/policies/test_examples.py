"""An example gives a request and a world to meet, and says what becomes of it; whatever comes out otherwise is told."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from policies.check import check
from policies.document import parse_policy
from policies.facts import NEEDS
from policies.members import ExpectData, GivenData

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text(encoding="utf-8")
BALANCED = (files("policies") / "defaults" / "balanced.yaml").read_text(encoding="utf-8")

DOCUMENT: dict[str, Any] = {
    "policy": "p",
    "labels": {
        "personal": {"detect": ["pii.*"]},
        "credentials": {"detect": ["secret.*"]},
        "code": {"when": 'task == "code"'},
    },
    "constraints": [
        {"name": "home", "when": '"personal" in labels', "require": 'target.boundary == "self_hosted"'},
        {"name": "dollar", "require": "worst_case_cost_usd <= 1.0"},
        {"name": "night", "when": "clock.hour < 6", "require": 'target.region == "eu"'},
        {"name": "own key", "when": 'tenant.key == "k" || tenant.organisation == "o"', "require": "target.name == 'x'"},
        {"name": "own team", "when": 'tenant.team == "t"', "require": 'target.region == "us"'},
        {"name": "streams", "when": "request.is_stream", "require": 'target.region == "home"'},
        {"name": "short", "require": "request.input_tokens < 1000"},
        {"name": "good", "require": "quality > 0.5"},
        {"name": "fast", "require": "expected_ttft_s <= 5.0"},
        {"name": "tools at home", "when": '"tools" in request.needs', "require": 'target.region == "home"'},
    ],
    "objective": [{"minimize": "expected_cost_usd"}],
    "unscannable": "self_hosted",
}  # fmt: skip
CARD = "card 4111 1111 1111 1111"


def problems(given: dict[str, Any], expect: dict[str, Any]) -> str:
    """What a check says of one example."""
    example = {"given": {"text": "a"} | given, "expect": expect}
    text = msgspec.json.encode(DOCUMENT | {"examples": [example]}).decode()
    return "\n".join(check(parse_policy(text, source="p"), ()).problems)


@pytest.mark.parametrize(
    ("given", "expect", "else_"),
    [
        ({"text": CARD}, {"struck_by": "home", "labels": ["personal"]}, "`home` strikes nobody"),
        ({"lost": ["pii.card"]}, {"only": {"boundary": "self_hosted"}, "unknown_labels": ["personal"]},
         "the labels personal are not unknown"),
        ({"lost": ["secret.*"]}, {"unknown_labels": ["credentials"]}, "the labels credentials are not unknown"),
        ({"text": CARD, "lost": ["pii.card"]}, {"unknown_labels": ["personal"]}, "personal are not unknown"),
        ({"task": "code"}, {"labels": ["code"]}, "the labels code are not set"),
        ({"worst_case_usd": 1.5}, {"refused": True, "struck_by": "dollar"},
         "`example/external-eu` is left, where nobody should be"),
        ({"worst_case_usd": "unknown"}, {"refused": True, "struck_by": "dollar"}, "where nobody should be"),
        ({"expected_usd": 1.5}, {"refused": True}, "where nobody should be"),
        ({"worst_case_usd": {"external": 2}}, {"only": {"boundary": "self_hosted"}}, "whose boundary is not"),
        ({"worst_case_usd": {"external": 2, "example/external-eu": 1}},
         {"only": {"provider": "example"}, "first": {"region": "eu"}, "struck_by": "dollar"}, "strikes nobody"),
        ({"expected_usd": {"self_hosted": 0, "external": 0.5}}, {"first": {"boundary": "self_hosted"}},
         "`example/external-eu` comes first, whose boundary is not `self_hosted`"),
        ({"expected_usd": {"example/external-us": 0}}, {"first": {"name": "example/external-us"}},
         "whose name is not `example/external-us`"),
        ({"expected_usd": "unknown", "worst_case_usd": {"self_hosted": 0.5}}, {"nothing_struck": True}, ""),
        ({"quality": 0.2}, {"refused": True, "struck_by": "good"}, "where nobody should be"),
        ({"quality": {"external": "unknown"}}, {"only": {"region": "home"}}, "whose region is not `home`"),
        ({"ttft_seconds": {"external": 6}}, {"only": {"region": "home"}}, "whose region is not `home`"),
        ({"unhealthy": ["external"]}, {"first": {"region": "home"}}, "whose region is not `home`"),
        ({"unhealthy": ["external", "example/self_hosted-home"]}, {"refused": True}, "nobody should be"),
        ({"hour": 5}, {"only": {"region": "eu"}, "struck_by": "night"}, ""),
        ({"hour": 6}, {"nothing_struck": True}, "something is struck by night"),
        ({"organisation": "o"}, {"refused": True}, "nobody should be"),
        ({"key": "k"}, {"refused": True}, "nobody should be"),
        ({"team": "t", "hour": 12}, {"only": {"region": "us"}}, "whose region is not `us`"),
        ({"stream": True, "hour": 12}, {"only": {"region": "home"}}, "whose region is not `home`"),
        ({"needs": ["tools"], "hour": 12}, {"only": {"region": "home"}}, "whose region is not `home`"),
        ({"input_tokens": 5000}, {"refused": True, "struck_by": "short"}, "nobody should be"),
        ({"text": "a" * 5000}, {"refused": True, "struck_by": "short"}, "nobody should be"),
        ({"media": ["image"]}, {"only": {"region": "home"}, "struck_by": "unscannable"}, "whose region is not"),
        ({"unhealthy": ["self_hosted"], "text": CARD}, {"refused": True}, "nobody should be"),
    ],
)  # fmt: skip
def test_what_is_given_counts(given: dict[str, Any], expect: dict[str, Any], else_: str) -> None:
    """With it comes out what is expected, and with a plain request instead (at noon) something else, which is told."""
    if "hour" not in given:
        given = given | {"hour": 12}
    assert problems(given, expect) == ""
    said = problems({"hour": 12 if given["hour"] != 6 else 5}, expect)
    assert else_ in said
    if else_:
        assert said.startswith("example 1: ")


def test_needs_meet_somebody() -> None:
    """Whatever a request needs, a target that an example may count on can do it."""
    for need in sorted(NEEDS):
        assert problems({"needs": [need], "hour": 12}, {"only": {"provider": "example"}}) == "", (
            need
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lost": ["pii.emial"]}, "example 1: `lost`: no detector finds `pii.emial`; there are pii.card, "),
        ({"lost": ["pi.*"]}, "example 1: `lost`: no detector finds `pi.*`"),
        ({"unhealthy": ["externl"]}, "example 1: `unhealthy`: no target is called `externl`: did you mean `external`?"),
        ({"quality": {"openai/gpt": 1}}, "example 1: `quality`: no target is called `openai/gpt`"),
    ],
)  # fmt: skip
def test_strangers_are_named(given: dict[str, Any], message: str) -> None:
    """A type that no detector finds, or a target that is not here, would make an example say nothing."""
    assert problems(given, {"nothing_struck": True}).startswith(message)


def test_an_expectation_of_somebody_fails_where_nobody_is_left() -> None:
    """`only` and `first` are about somebody."""
    given = {"worst_case_usd": 2}
    for expect in ({"only": {"region": "eu"}}, {"first": {"region": "eu"}}):
        assert problems(given, expect) == "example 1: no target is left"


@pytest.mark.parametrize(("title", "struct"), [("given", GivenData), ("expect", ExpectData)])
def test_every_member_is_documented(title: str, struct: type[msgspec.Struct]) -> None:
    """The page's table has a row for each member, and for no other."""
    table = PAGE.partition(f"\n| `{title}` | |\n")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[1:]]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(
        struct.__struct_fields__
    )


def test_the_documented_examples_work() -> None:
    """Those of the page hold under the policy of a first start, whose rules they name."""
    (text,) = re.findall(r"^```yaml\n(examples:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    document = yaml.safe_load(BALANCED) | yaml.safe_load(text)
    assert len(document["examples"]) == 3
    report = check(parse_policy(msgspec.json.encode(document).decode(), source="p"), ())
    assert report.is_ok, report.lines()


def test_who_is_only_never_reached_is_left_too() -> None:
    """A world in which others are tried first does not hide that nothing strikes a target."""
    document = {
        "policy": "p",
        "objective": [{"minimize": "expected_cost_usd"}],
        "attempts": {"max": 1},
        "examples": [
            {
                "given": {"text": "a", "expected_usd": {"self_hosted": 0.0}},
                "expect": {
                    "first": {"boundary": "self_hosted"},
                    "only": {"boundary": "self_hosted"},
                },
            }
        ],
    }
    text = msgspec.json.encode(document).decode()
    found = "\n".join(check(parse_policy(text, source="p"), ()).problems)
    assert "`example/external-eu` is left, whose boundary is not `self_hosted`" in found
    assert "comes first" not in found
