"""A check tells what a document would do with the targets that are switched on, before it is in force."""

import msgspec
import pytest

from policies.check import STAND_INS, Report, check
from policies.document import parse_policy

HOME, US = (
    msgspec.structs.replace(one, name=f"{provider}/m", provider=provider, model="m")
    for one, provider in zip(STAND_INS[:2], ("own", "openai"), strict=True)
)


def tried(*rules: str) -> Report:
    """``when => require``, or ``require`` alone, tried with two targets."""
    constraints: list[dict[str, str]] = []
    for at, rule in enumerate(rules):
        when, _, require = rule.rpartition(" => ")
        constraints.append(
            {"name": f"r{at}", "require": require} | ({"when": when} if when else {})
        )
    document = msgspec.json.encode({"policy": "p", "constraints": constraints}).decode()
    return check(parse_policy(document, source="p"), (HOME, US))


@pytest.mark.parametrize(
    ("rules", "note"),
    [
        (['target.region == "eu"'], "`r0` strikes every target that is switched on, for every"),
        (['target.region == "home"', 'target.region == "us"'], "together strike every target"),
        (['request.is_stream => target.region == "eu"'], "on, where its `when` holds"),
        (["target.context_tokens_max > 1"], "`r0` keeps every target"),
        ([], "no constraint: every text may go to every target"),
        (['target.provider != "opnai"'], "has the provider `opnai`: did you mean `openai`?"),
        (['target.region != "usa"'], "`constraints[0].require`: no target that is switched on has"),
        (['target.model in ["m", "gpt"]'], "has the model `gpt`"),
        (['tenant.residency == "EU" => target.region == "us"'], "never `EU`"),
    ],
)
def test_what_a_rule_comes_to_is_told(rules: list[str], note: str) -> None:
    """Rules that leave nobody, everybody, or look for what is not there: a note, no problem."""
    report = tried(*rules)
    assert report.is_ok
    assert note in "\n".join(report.notes), report.notes


def test_rules_that_work_are_nothing_to_tell() -> None:
    """Some targets struck, some left, every word known: silence."""
    report = tried('tenant.residency == "us" => target.region == "us"', 'target.provider != "own"')
    assert report.notes == ()
