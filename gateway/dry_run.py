"""Decide a request without sending it: what ``moegate policy explain --request`` shows."""

from dataclasses import dataclass

from backends.catalogue import Catalogue
from backends.health import Health
from backends.wire import openai_chat
from backends.wire.failure import WireError
from gateway.deciding import decide_prompt
from gateway.decision_record import DecisionRecord
from gateway.errors import StartError
from gateway.routing import make_routing
from policies.classify import Classifier
from policies.document import PolicyDocument
from policies.facts import DataClass


@dataclass(frozen=True, slots=True)
class Anyone:
    """Nobody in particular: a key without a residency and without a class of its own."""

    organisation: str = "default"
    team: str = "default"
    key_id: str = "dry-run"
    residency: str = ""
    data_class: DataClass = "internal"


def dry_run(
    catalogue: Catalogue, document: PolicyDocument, raw: bytes, data_class: str | None, now: float
) -> DecisionRecord:
    """What ``document`` decides about the chat request ``raw``, all targets taken as healthy.

    Raises ``StartError`` for a request that does not parse, ``Refused`` and ``PolicyError``.
    """
    try:
        prompt = openai_chat.parse_request(raw)
    except WireError as error:
        raise StartError(f"the request does not parse: {error}") from error
    routing = make_routing(catalogue, document, {})
    decided = decide_prompt(routing, prompt, Anyone(), Classifier(), Health(), data_class, now)
    return decided.record
