"""The report of a replay, for people and for programs."""

import pytest

from gateway.cli.replay import to_lines
from gateway.policy_reports import replay_to_json
from gateway.replay import replay_page
from policies.facts import Quote
from policies.replay import Replay
from tests.unit.policies.test_replay import (
    CHEAPEST_AWAY,
    DEAREST,
    KNOWN,
    NOW,
    QUOTES,
    record,
)


@pytest.fixture
def replay() -> Replay:
    """Three that cost 90 nano-dollars more, one refused both times, one that cannot be read."""
    replay = Replay(DEAREST, KNOWN, NOW, "c")
    for at in range(3):
        replay.add(f"r{at}", record(CHEAPEST_AWAY))
    replay.add("none", record(CHEAPEST_AWAY, quotes={"home": QUOTES["home"]}))
    replay_page(replay, [("bad", "{}")])
    return replay


def test_people_read_what_moves_and_why_not_all_is_known(replay: Replay) -> None:
    """Counts with their shares, changes with how many they are known of, what moved, and examples."""
    lines = to_lines(replay, 5, "what was decided then")
    text = "\n".join(lines)
    for said in (
        "looked at      5 of 5 (100.0 %) requests\n",
        "decided        4 of 5 (80.0 %)\n",
        "undecided      1 of 5 (20.0 %): the record cannot be read\n",
        "moved          3 of 4 (75.0 %)\n",
        "newly refused  0 of 4 (0.0 %)\n",
        "cost           +0.000000090 ± 0.000000000 USD a request, +0.000000270 ± 0.000000000 USD together; known of 3 "
        "of 3 (100.0 %)\n",
        "first token    -0.500 ± 0.000 s a request; known of 3 of 3 (100.0 %)\n",
        "quality        not known of any request\n",
        "privacy        0 to external, 0 to self_hosted\n",
        "cheap  dear         3  75.0 %\n",
        "r2: `auto` of team `t`, internal, no labels, about 10 tokens\n",
    ):
        assert said in text, said
    assert "sample" not in text
    assert "catalogue" not in text


def test_sample_says_that_it_is_one(replay: Replay) -> None:
    """Its shares have an interval in which those of all lie; changes are told a request and of those looked at."""
    text = "\n".join(to_lines(replay, 50, "x"))
    assert (
        "looked at      5 of 50 (10.0 %) requests, a uniform sample, by a hash of their ids\n"
        in text
    )
    assert "moved          3 of 4 (75.0 %, 30.1 to 95.4 % of all)\n" in text
    said = replay_to_json(replay, 50, "x")
    assert said["sample"] == "a uniform sample, by a hash of their ids"
    assert "sample" not in replay_to_json(replay, 5, "x")


def test_nothing_changed_is_said_so() -> None:
    """Rows of zeros tell nobody anything."""
    replay = Replay(CHEAPEST_AWAY, KNOWN, NOW)
    replay.add("r", record(CHEAPEST_AWAY, quotes={"cheap": Quote(10, 100)}))
    text = "\n".join(to_lines(replay, 1, "x"))
    assert "cost           no change; known of 1 of 1 (100.0 %)\n" in text
    assert (
        "catalogue      1 of 1 (100.0 %) met another version of it; targets are as they are now\n"
        in text
    )
    assert "±" not in text


def test_programs_get_whole_numbers(replay: Replay) -> None:
    """Sums of nano-dollars are exact, unknown is null, and each move is listed."""
    said = replay_to_json(replay, 5, "x")
    assert said["expected_cost_nanousd"] == {
        "requests": 3,
        "known": 3,
        "mean": 90.0,
        "mean_margin": 0.0,
        "total": 270.0,
        "total_margin": 0.0,
    }
    quality = said["quality"]
    assert isinstance(quality, dict)
    assert (quality["known"], quality["mean"]) == (0, None)
    assert said["moves"] == [
        {"from": "cheap", "to": "dear", "requests": 3},
        {"from": "refused", "to": "refused", "requests": 1},
    ]
    assert (said["requests"], said["looked_at"], said["decided"], said["moved"]) == (5, 5, 4, 3)
    assert said["undecidable"] == {"the record cannot be read": 1}
