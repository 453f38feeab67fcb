"""Records for a replay: decisions out of SQL, or requests out of a trace of lengths.

Promises: constant memory, a page or a line at a time; nothing is sent and nothing is written.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from backends.catalogue import Catalogue
from backends.health import Health
from backends.pricing import expected_cost
from gateway.errors import StartError
from gateway.ledger.tables import requests, teams
from gateway.observed import Observed
from gateway.quotes import Moment, Signals, Sizes, quote
from policies.classify import Classifier
from policies.classify.versions import known_versions
from policies.compile import CompiledPolicy
from policies.decide import decide
from policies.facts import Detection, Facts
from policies.recorded import FORM, KeptName, Recorded, RecordedDecision
from policies.replay import Replay, Unreadable

PAGE_ROWS = 1000
TRACE_DETECTORS = "trace"
"""Stands for the detectors of now, which found nothing in a trace."""
TRACE_MILLISECONDS_MAX = 1e12
"""Some thirty years: what is longer is no trace, and dates end somewhere."""
TRACE_TOKENS_MAX = 10**9
UNREADABLE = "the record cannot be read"
_PLACE = re.compile(r"at `\$\.?([^`\d]*)`")
"""Where a record is wrong, as msgspec says it; places with numbers of rows are left out, for there may be many."""
_decoder = msgspec.json.Decoder(Recorded)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Span:
    """Which records: UTC days (``until`` included), of a team by name or id, of an organisation. Empty: all."""

    since: str = ""
    until: str = ""
    team: str = ""
    organisation_id: str = ""

    def clause(self) -> ColumnElement[bool]:
        """The span as SQL has it."""
        parts: list[ColumnElement[bool]] = [requests.c.decision != ""]
        if self.since:
            parts.append(requests.c.day >= self.since)
        if self.until:
            parts.append(requests.c.day <= self.until)
        if self.team:
            named = select(teams.c.team_id).where(teams.c.name == self.team)
            parts.append(or_(requests.c.team_id == self.team, requests.c.team_id.in_(named)))
        if self.organisation_id:
            parts.append(requests.c.organisation_id == self.organisation_id)
        return and_(*parts)


async def count_records(engine: AsyncEngine, span: Span) -> int:
    """How many records lie in ``span``."""
    query = select(func.count()).select_from(requests).where(span.clause())
    async with engine.connect() as connection:
        return (await connection.execute(query)).scalar_one()


async def read_pages(
    engine: AsyncEngine, span: Span, page_rows: int = PAGE_ROWS
) -> AsyncIterator[list[tuple[str, str]]]:
    """Pages of (request id, decision), by id: each page begins where the last ended, whatever is booked
    meanwhile."""
    query = select(requests.c.request_id, requests.c.decision).where(span.clause())
    query = query.order_by(requests.c.request_id).limit(page_rows)
    last = ""
    async with engine.connect() as connection:
        while True:
            found = await connection.execute(query.where(requests.c.request_id > last))
            page = [(row[0], row[1]) for row in found]
            if page:
                yield page
                last = page[-1][0]
            if len(page) < page_rows:
                return


def start_replay(policy: CompiledPolicy, classifier: Classifier, catalogue: str) -> Replay:
    """A replay under ``policy``, fitted to the ``catalogue`` of this version, that knows the detectors of releases."""
    known = {
        **known_versions(),
        classifier.version: classifier.digests,
        TRACE_DETECTORS: classifier.digests,
    }
    return Replay(policy, known, classifier.digests, catalogue)


def replay_page(replay: Replay, page: list[tuple[str, str]], threshold: int | None = None) -> None:
    """Decide a page again; with ``threshold``, those whose hash lies below it."""
    for request_id, text in page:
        if threshold is not None and hash_of(request_id) >= threshold:
            continue
        try:
            replay.add(request_id, _decoder.decode(text))
        except (msgspec.DecodeError, Unreadable, ArithmeticError, RecursionError) as error:
            where = _PLACE.search(str(error))
            replay.undecidable[f"{UNREADABLE} (`{where[1]}`)" if where else UNREADABLE] += 1


def sample_threshold(wanted: int, total: int) -> int | None:
    """Below which hashes about ``wanted`` of ``total`` lie; None: all."""
    return None if wanted >= total else (wanted << 64) // total


def hash_of(request_id: str) -> int:
    """64 bits, the same in every process, unlike Python's own."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest())


class TraceLine(msgspec.Struct, frozen=True):
    """A request of a trace: ``timestamp`` in milliseconds from its beginning, lengths in tokens."""

    timestamp: Annotated[float, msgspec.Meta(ge=0, le=TRACE_MILLISECONDS_MAX)]
    input_length: Annotated[int, msgspec.Meta(ge=0, le=TRACE_TOKENS_MAX)]
    output_length: Annotated[int, msgspec.Meta(ge=0, le=TRACE_TOKENS_MAX)]


def read_trace(
    path: Path, catalogue: Catalogue, before: CompiledPolicy, started: float
) -> Iterator[tuple[str, Recorded, int]]:
    """The requests of a trace as if each had asked for ``auto`` and ``before`` had decided, all targets healthy; with
    the bytes of each line.

    Raises ``StartError`` for a file that is none.
    """
    decoder = msgspec.json.Decoder(TraceLine)
    candidates = [at for at, one in enumerate(before.targets) if "embed" not in one.capabilities]
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    said = decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise StartError(f"`{path}`, line {number}: {error}") from error
                yield (
                    f"line {number}",
                    _record_line(said, catalogue, before, candidates, started),
                    len(line),
                )
    except OSError as error:
        raise StartError(f"cannot read `{path}`: {error.strerror}") from error


def _record_line(
    said: TraceLine,
    catalogue: Catalogue,
    before: CompiledPolicy,
    candidates: list[int],
    started: float,
) -> Recorded:
    now = started + said.timestamp / 1000
    moment = Moment(now, datetime.fromtimestamp(now, UTC))
    sizes = Sizes(said.input_length, said.input_length, 0, 0, None, 1)
    signals = Signals(Health(), Observed())
    quotes = {
        target.name: msgspec.structs.replace(
            quote(target, sizes, signals, moment),
            expected_cost_nanousd=expected_cost(
                target,
                input_tokens=said.input_length,
                output_tokens=min(said.output_length, target.output_tokens_max),
                at=moment.at,
            ),
        )
        for target in (catalogue.targets[index] for index in candidates)
    }
    facts = Facts(
        organisation="default",
        team="default",
        key="trace",
        residency="",
        data_class="internal",
        detection=Detection(detectors=TRACE_DETECTORS),
        request_model="auto",
        prefer="policy",
        needs=frozenset(),
        is_stream=True,
        input_tokens_estimate=said.input_length,
        output_tokens_max=None,
        now=now,
        needs_bound=True,
    )
    decision = decide(before, facts, candidates, quotes)
    kept = tuple(KeptName(one.target) for one in decision.kept)
    return Recorded(
        facts,
        quotes,
        RecordedDecision(kept, msgspec.Raw(_encoder.encode(decision.struck))),
        catalogue.version,
        FORM,
    )
