"""Nothing vanishes between formats, and the published matrix is what the codecs do."""

import pytest

from backends.wire.clients import CLIENTS
from backends.wire.prompt import WireFormat
from backends.wire.targets import TARGETS
from tests.wire.conformance import PAGE, parse, render, try_one
from tests.wire.features import FEATURES
from tests.wire.saying import FORMATS, Feature, plain

CASES = [
    pytest.param(feature, client, target, id=f"{feature.part}: {client} to {target}")
    for feature in FEATURES
    for client in CLIENTS
    if client in feature.said
    for target in TARGETS
    if target != client
]


@pytest.mark.parametrize(("feature", "client", "target"), CASES)
def test_no_feature_vanishes(feature: Feature, client: WireFormat, target: WireFormat) -> None:
    """What a client says is in the target's body, refused, or in the list of losses."""
    assert try_one(feature, client, target).fate in ("carried", "listed", "refused")


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("target", list(TARGETS))
def test_a_plain_question_loses_nothing(client: WireFormat, target: WireFormat) -> None:
    """Nothing is listed that was never said."""
    nothing = Feature("nothing", {client: {}}, dict.fromkeys(FORMATS, lambda _body: True))
    assert try_one(nothing, client, target).names == ()


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.part)
def test_features_see_themselves(feature: Feature) -> None:
    """Each question recognises its own format's words, so that a tick means something; and no plain body."""
    for client in feature.said.keys() & CLIENTS.keys():
        if feature.part == "output cap" or (client == "gemini" and feature.part == "strict tools"):
            continue
        said = plain(client, **feature.said[client])
        parse(client, said)
        if feature.part != "a search by the provider":
            assert feature.seen[client](said), client
        assert not feature.seen[client](plain(client)), client


def test_the_page_is_not_stale() -> None:
    """Run ``python -m tests.wire.conformance`` after a change."""
    assert PAGE.read_text(encoding="utf-8") == render()
