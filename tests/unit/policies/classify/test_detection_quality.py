"""Recall and false alarms on labelled data: floors and ceilings that may only be moved for the better."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from policies.classify import Classifier
from policies.facts import Segment

TYPES = {
    "EMAIL_ADDRESS": "pii.email",
    "PHONE_NUMBER": "pii.phone",
    "CREDIT_CARD": "pii.card",
    "IBAN_CODE": "pii.iban",
    "US_SSN": "pii.national_id",
    "SECRET": "secret",
}


class Label(msgspec.Struct):
    type: str


class Row(msgspec.Struct):
    text: str
    labels: list[Label]


def rows(folder: Path, name: str) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """For each text what it holds and what was found; all credentials count as one type."""
    classifier = Classifier()
    for line in (folder / "privacy" / f"{name}.jsonl").read_bytes().splitlines():
        row = msgspec.json.decode(line, type=Row)
        detection = classifier.scan([Segment("user", "text", row.text)])
        assert detection.unknown == frozenset()
        found = {"secret" if kind.startswith("secret.") else kind for kind in detection.found}
        yield (
            frozenset(TYPES[one.type] for one in row.labels if one.type in TYPES),
            frozenset(found),
        )


# What was measured when the floors were set: a tenth of what was missed may be missed more.
FLOORS = {
    ("gateway_synth", "pii.email"): 1.0,
    ("gateway_synth", "pii.card"): 1.0,
    ("gateway_synth", "pii.iban"): 1.0,
    ("gateway_synth", "pii.national_id"): 1.0,
    ("gateway_synth", "pii.phone"): 0.98,
    ("gateway_synth", "secret"): 0.93,
    ("presidio_synth", "pii.email"): 1.0,
    ("presidio_synth", "pii.card"): 1.0,
    ("presidio_synth", "pii.iban"): 1.0,
    ("presidio_synth", "pii.national_id"): 1.0,
    ("presidio_synth", "pii.phone"): 0.88,
    ("kingfisher_secrets", "secret"): 0.76,
    ("credsweeper_samples", "secret"): 0.64,
}


@pytest.mark.parametrize("name", sorted({name for name, _kind in FLOORS}))
def test_recall_stays_above_its_floor(shared: Path, name: str) -> None:
    """Of the texts that hold a type, at least this share is found to hold it."""
    held: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    for holds, found in rows(shared, name):
        held.update(holds)
        caught.update(holds & found)
    floors = {kind: floor for (where, kind), floor in FLOORS.items() if where == name}
    recall = {kind: caught[kind] / held[kind] for kind in floors}
    assert {kind: share for kind, share in recall.items() if share < floors[kind]} == {}


@pytest.mark.parametrize(
    ("name", "ceiling"),
    [
        ("benign_prompts", 0.0),
        ("benign_code", 0.0),
        ("hard_negatives", 0.0),
        ("secret_negatives", 0.18),
    ],
)
def test_false_alarms_stay_below_their_ceiling(shared: Path, name: str, ceiling: float) -> None:
    """Of the texts that hold nothing, at most this share is taken for something.

    The rest of ``secret_negatives`` has the form of real keys, published as harmless one by one.
    """
    found = [found for _holds, found in rows(shared, name)]
    assert sum(map(bool, found)) <= ceiling * len(found)
