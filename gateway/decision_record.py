"""A decision as it is written down: enough to explain it and to repeat it, and no content."""

import msgspec

from policies.facts import Decision, Facts, Quote


class DecisionRecord(msgspec.Struct, frozen=True):
    """The facts a decision was made from and the decision.

    ``catalogue`` is the version of the catalogue; ``quotes`` are prices and health as they stood.
    ``passed_over``: so many of the first kept may cost more than the budget had left. ``form`` says what was measured
    when it was written (:mod:`policies.recorded`).
    """

    facts: Facts
    quotes: dict[str, Quote]
    catalogue: str
    decision: Decision
    passed_over: int = 0
    form: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DecisionRecord)


def render_decision(record: DecisionRecord) -> str:
    """The record as one line of JSON."""
    return _encoder.encode(record).decode()


def parse_decision(text: str | bytes) -> DecisionRecord:
    """The record as stored; raises ``msgspec.DecodeError``."""
    return _decoder.decode(text)
