"""From a parsed request to a decided one: classify, gather the facts, decide.

Promises: what detectors could not look at is a fact, not a gap; a request that no target may take ends
here with the reason, in the kind that tells the client whether to come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from backends.wire.failure import Failure
from backends.wire.prompt import Media, Prompt
from gateway.arrival import Arrival
from gateway.cache import cache_key
from gateway.case import Case, Ending
from gateway.clock import day_of
from gateway.costly import refuse_costly_members
from gateway.decision_record import DecisionRecord
from gateway.errors import Refused, refuse
from gateway.facts import (
    HEADER_DATA_CLASS,
    HEADER_TASK,
    media_of,
    message_segments,
    needs_of,
    other_segments,
    raise_class,
    read_task,
)
from gateway.identity import Principal
from gateway.observed import Trail, follow
from gateway.quotes import Moment, Signals, Sizes, measure, quote
from gateway.routing import AUTO, Routing
from gateway.services import Services
from policies.classify import Classifier
from policies.decide import decide
from policies.explain import say_rule
from policies.facts import EMBED, DataClass, Decision, Detection, Facts, Segment
from policies.recorded import FORM
from policies.remedies import Remedy, what_would_pass

RETRY_SECONDS = 5.0
REMEDIES_SHOWN = 2
SHOWN_MAX = 5
"""Targets, or reasons, that an error tells of."""
NEED_PARAMS = {EMBED: "model", "choices": "n", "json_schema": "response_format", "tools": "tools"}
"""The member of a request that a need comes of; the others come of its messages."""
CACHE_MODES = (b"on", b"off", b"refresh")


class Asker(Protocol):
    """What a decision may know of who asks; a principal is one."""

    @property
    def organisation(self) -> str: ...
    @property
    def team(self) -> str: ...
    @property
    def team_id(self) -> str: ...
    @property
    def organisation_id(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def residency(self) -> str: ...
    @property
    def data_class(self) -> DataClass: ...


def decide_case(
    services: Services,
    arrival: Arrival,
    principal: Principal,
    prompt: Prompt,
    request_id: str,
    now: float,
    started: float,
) -> Case:
    """The request with its decision. Raises ``Refused`` for what cannot be asked at all.

    A decision that keeps no target is a case like any other; :func:`nobody_left` says why.
    """
    routing = services.routing.current
    asked = _text(arrival.find_header(HEADER_DATA_CLASS.encode()))
    task = read_task(_text(arrival.find_header(HEADER_TASK.encode())))
    decided = decide_prompt(
        routing, prompt, principal, services.classifier, services.signals, asked, now, task
    )
    decision = decided.record.decision
    if fault := decided.record.facts.detection.fault:
        services.metrics.detector_faults.inc()
        services.log.error("detector failed", request_id=request_id, fault=fault)
    mode = arrival.find_word(b"x-moegate-cache", CACHE_MODES)
    strict = arrival.find_word(b"x-moegate-strict", (b"true", b"false"))
    key = None
    if mode != b"off" and decision.kept and _may_be_cached(prompt, decision):
        key = cache_key(
            services.sealer,
            principal.organisation_id,
            prompt,
            decision,
            decided.record.facts.data_class,
        )
    return Case(
        request_id=request_id,
        received_at=now,
        day=day_of(now),
        started=started,
        arrival=arrival,
        principal=principal,
        prompt=prompt,
        sizes=decided.sizes,
        trail=decided.trail,
        routing=routing,
        record=decided.record,
        cache_key=key,
        reads_cache=mode != b"refresh",
        is_strict=strict == b"true",
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with what it was made from."""

    sizes: Sizes
    trail: Trail
    record: DecisionRecord


def decide_prompt(
    routing: Routing,
    prompt: Prompt,
    asker: Asker,
    classifier: Classifier,
    signals: Signals,
    data_class: str | None,
    now: float,
    task: str | None = None,
) -> Decided:
    """Classify ``prompt``, gather the facts and decide; sends nothing, keeps nothing.

    ``data_class`` is what the caller asked for, ``task`` what it says of the work. Raises ``Refused`` for unknown models and classes.
    """
    refuse_costly_members(prompt)
    if prompt.embedding is not None and prompt.request_model in AUTO:
        raise refuse(
            "invalid_request",
            f"`{prompt.request_model}` chooses no model for embeddings: vectors of different models cannot be "
            "compared; name a model",
            code="invalid_value",
            param="model",
        )
    candidates, prefer = routing.find_candidates(prompt.request_model)
    said, beside, media = message_segments(prompt), other_segments(prompt), media_of(prompt)
    texts = [*said, *beside]
    sizes = measure(prompt, texts, media)
    trail = follow(asker.organisation, beside, said)
    facts = Facts(
        organisation=asker.organisation,
        team=asker.team,
        key=asker.key_id,
        residency=asker.residency,
        data_class=raise_class(asker.data_class, data_class),
        detection=detect(classifier, texts, media),
        request_model=prompt.request_model,
        prefer=prefer,
        needs=needs_of(prompt, media),
        is_stream=prompt.is_stream,
        input_tokens_estimate=sizes.input_tokens_estimate,
        output_tokens_max=prompt.output_tokens_max,
        now=now,
        needs_bound=True,
        context_tokens_estimate=sizes.context_tokens_estimate,
        task=task,
    )
    moment = Moment(
        now,
        datetime.fromtimestamp(now, UTC),
        facts.task,
        signals.observed.find_held(trail, now),
    )
    quotes = {
        routing.targets[index].name: quote(routing.targets[index], sizes, signals, moment)
        for index in candidates
    }
    decision = decide(routing.policy_for(asker), facts, candidates, quotes)
    record = DecisionRecord(facts, quotes, routing.catalogue.version, decision, form=FORM)
    return Decided(sizes, trail, record)


def detect(classifier: Classifier, texts: Sequence[Segment], media: Sequence[Media]) -> Detection:
    """What the detectors see; if they break as a whole, every type they know is unknown."""
    try:
        detection = classifier.scan(texts)
    except Exception as error:  # fail closed: knowledge lost never widens; record and log tell it
        fault = f"scan: {type(error).__name__}"
        detection = Detection(unknown=classifier.types, detectors=classifier.version, fault=fault)
    if not media:
        return detection
    return Detection(
        detection.found,
        detection.unknown,
        detection.unscannable | {item.kind for item in media},
        detection.detectors,
        detection.fault,
    )


def _may_be_cached(prompt: Prompt, decision: Decision) -> bool:
    """Only what would come out the same again, unless the policy wants more. What goes on from a kept response
    names it in its answer, which would be wrong for another's."""
    if prompt.kept is not None and prompt.kept.previous_id is not None:
        return False
    if prompt.embedding is not None:
        return True
    if prompt.is_count:
        return False  # Its body may be that of a request for an answer.
    sampling = prompt.sampling
    return decision.caches_sampled or sampling.temperature == 0 or sampling.seed is not None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def nobody_left(case: Case) -> Failure:
    """Why no target is left, in the kind that fits: come back later, mend the request, or never.

    Health is the cause if a target would do but for it; unknown labels are if the detectors were down;
    else the policy, or what the request needs, stands in the way.
    """
    decision = case.decision
    struck = decision.struck
    unproved = [f"`{one.target}`" for one in struck if one.by == "proof"]
    if unproved:
        return Failure(
            "overloaded",
            f"the policy `{decision.policy}` is not proved with {', '.join(unproved[:SHOWN_MAX])}: a proof is under "
            "way, or an administrator has to look (`moegate policy status`); try again later",
            retry_after_seconds=RETRY_SECONDS,
        )
    if any(one.by == "health" for one in struck):
        ill = [f"`{one.target}` ({one.reason})" for one in struck if one.by == "health"]
        more = f" and {len(ill) - SHOWN_MAX} more" if len(ill) > SHOWN_MAX else ""
        return Failure(
            "overloaded",
            f"no allowed target is healthy: {', '.join(ill[:SHOWN_MAX])}{more}; try again later",
            retry_after_seconds=RETRY_SECONDS,
        )
    if decision.unknown_labels and any(one.by == "constraint" for one in struck):
        return Failure(
            "detector_down",
            "a privacy detector failed, and no target is allowed for every case that it could have "
            "found; try again later",
            retry_after_seconds=RETRY_SECONDS,
        )
    if struck and all(one.by == "context" for one in struck):
        return Failure(
            "context_too_long",
            f"the prompt is too long for every allowed target: {struck[0].reason}",
            code="context_length_exceeded",
            param="messages",
        )
    reasons = dict.fromkeys(say_rule(one.constraint, one.reason, "`") for one in struck)
    causes = "; ".join(list(reasons)[:SHOWN_MAX]) or "the catalogue holds no target for it"
    if decision.labels:
        causes += f" (labels: {', '.join(sorted(decision.labels))})"
    remedies = find_remedies(case.routing, case.principal, case.record)[:REMEDIES_SHOWN]
    ways = f"; it would pass {', or '.join(map(str, remedies))}" if remedies else ""
    return Failure(
        "no_target",
        f"no target may take this request under the policy `{decision.policy}`: {causes}{ways}",
        code="no_target",
        param=_find_param(case),
    )


def find_remedies(routing: Routing, asker: Asker, record: DecisionRecord) -> tuple[Remedy, ...]:
    """What would let a request pass that was refused, among the targets it asked for."""
    candidates = [routing.positions[name] for name in record.quotes]
    policy = routing.policy_for(asker)
    return what_would_pass(policy, record.facts, candidates, record.quotes, asker.data_class)


def _find_param(case: Case) -> str | None:
    """The one member of the request that no target can take, or None if there is more in the way."""
    routing, struck = case.routing, case.decision.struck
    if any(one.by != "capability" for one in struck):
        return None
    params = {
        NEED_PARAMS.get(need, "messages")
        for one in struck
        for need in case.record.facts.needs
        - routing.facts[routing.positions[one.target]].capabilities
    }
    return params.pop() if len(params) == 1 else None


def refuse_if_nobody(case: Case, ending: Ending) -> None:
    """Raises ``Refused`` if the decision keeps no target."""
    if not case.decision.kept:
        ending.cache = "off"
        raise Refused(nobody_left(case))
