"""Decide a request without sending it: what ``moegate policy explain --request`` shows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import orjson

from backends.catalogue import Catalogue
from backends.health import Health
from backends.wire.clients import CLIENTS, EMBEDDERS
from backends.wire.codec import RequestCodec
from backends.wire.failure import WireError
from backends.wire.prompt import Asked, WireFormat
from gateway.deciding import decide_prompt, find_remedies
from gateway.decision_record import DecisionRecord, render_decision
from gateway.errors import StartError
from gateway.facts import read_task
from gateway.observed import Observed
from gateway.quotes import Signals
from gateway.routing import Routing
from gateway.targets import count_targets
from policies.classify import Classifier
from policies.facts import DataClass
from policies.remedies import Remedy

CODECS: Mapping[WireFormat, RequestCodec] = {**CLIENTS, **EMBEDDERS}
"""The formats of requests that can be decided about."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A request as a file has it: its body, its format, for Google's the model of its address, and what kind of task
    the client says it is."""

    raw: bytes
    format: WireFormat = "openai-chat"
    model: str = "auto"
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Anyone:
    """Nobody in particular: a key without a residency and without a class of its own."""

    organisation: str = "default"
    team: str = "default"
    team_id: str = ""
    organisation_id: str = ""
    key_id: str = "dry-run"
    residency: str = ""
    data_class: DataClass = "internal"


def dry_run(
    routing: Routing, trial: Trial, data_class: str | None, now: float
) -> tuple[DecisionRecord, tuple[Remedy, ...]]:
    """What the base policy of ``routing`` decides about ``trial``, all targets taken as healthy; and what would let it
    pass, if no target may take it.

    Raises ``StartError`` for a request that does not parse, and ``Refused``.
    """
    try:
        asked = Asked(model=trial.model, is_batch=b'"requests"' in trial.raw)
        prompt = CODECS[trial.format].parse_request(trial.raw, asked)
    except WireError as error:
        raise StartError(f"the request does not parse as `{trial.format}`: {error}") from error
    routing = replace(routing, chains={})  # overlays and canaries are for keys, and none asks
    asker, signals = Anyone(), Signals(Health(), Observed())
    task = read_task(trial.task)
    # A classifier of its own: what the gateway's remembers is not for threads.
    record = decide_prompt(
        routing, prompt, asker, Classifier(), signals, data_class, now, task
    ).record
    remedies = () if record.decision.kept else find_remedies(routing, asker, record)
    return record, remedies


def trial_to_json(
    record: DecisionRecord, remedies: tuple[Remedy, ...], catalogue: Catalogue
) -> dict[str, object]:
    """For programs: the record, what would let it pass, and the targets that it was held against."""
    said = orjson.loads(render_decision(record))
    return said | {
        "would_pass": [msgspec.to_builtins(one) for one in remedies],
        "targets": count_targets(catalogue),
    }


def find_format(name: str) -> WireFormat:
    """The format of this name. Raises ``StartError``."""
    for known in CODECS:
        if known == name:
            return known
    raise StartError(f"`{name}` is no format; it is one of {', '.join(CODECS)}")
