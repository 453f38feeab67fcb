"""What a request would cost and need at each target: the numbers that policy ranks by.

Promises: every amount comes from :mod:`backends.pricing`; a worst case is an upper bound of the bill
under the output cap that is enforced upstream, or None where there is no such bound.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backends.health import Health
from backends.pricing import MESSAGE_TOKENS_MAX, bound_cost, expected_cost, input_tokens_bound
from backends.target import Target, quality_of
from backends.wire.prompt import Media, Prompt
from gateway.observed import Observed
from policies.facts import COST_NANOUSD_MAX, Quote, Segment

OUTPUT_TOKENS_EXPECTED = 400
"""Median answer of a chat in public traces (Azure LLM inference 2023, conversation: 129 to 415 tokens
by day), as long as a target has shown nothing else; used for ranking only, never for money."""
IMAGE_TOKENS_EXPECTED = 800
CLOSED_OBJECT = b',"additionalProperties":false'
EXPONENT_GROWTH = 14
"""Bytes that a number with an exponent grows by at most: ``1e15`` gets 18, ``1e16`` stays (msgspec and orjson
write the shortest digits, and an exponent from 10^16 on)."""
CALL_ID_BYTES = 64
"""Of an id that is made for a call, and for its result; some hosts show them to the model."""
_EXPONENT = re.compile(rb"\d[eE][+-]?\d")
BYTES_A_TOKEN = 4
"""English text at 4 bytes a token, the usual estimate; used for ranking only, never for money."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How big a request is. ``input_tokens_max`` bounds its text in every tokenizer."""

    input_tokens_max: int
    input_tokens_estimate: int
    images: int
    other_media: int
    output_tokens_asked: int | None
    choices: int
    context_tokens_estimate: int | None = None
    """Of the longest text, where a host reads each for itself; None: all of them are its context."""
    is_billed: bool = True
    """A count of tokens is not."""

    def output_tokens_max(self, target: Target) -> int:
        """The most that ``target`` may answer under the cap that is sent to it, all choices."""
        asked = self.output_tokens_asked
        one = target.output_tokens_max if asked is None else min(asked, target.output_tokens_max)
        return one * self.choices


def measure(prompt: Prompt, segments: Sequence[Segment], media: Sequence[Media]) -> Sizes:
    """The sizes of a prompt.

    The bound takes the JSON body without inline media: UTF-8 text never has more bytes than its JSON
    form, and a token is at least one byte. Schemas are read as JSON, and a codec may write them longer.
    """
    if prompt.embedding is not None:
        return _measure_embedding(prompt, segments)
    inline = sum(len(item.data) for item in media if item.data)
    text_bytes = max(0, len(prompt.raw) - inline) + _growth(prompt)
    characters = sum(len(segment.text) for segment in segments)
    images = sum(1 for item in media if item.kind == "image")
    return Sizes(
        input_tokens_max=input_tokens_bound(
            text_bytes, messages=_turns(prompt), tools=len(prompt.tools)
        ),
        input_tokens_estimate=characters // BYTES_A_TOKEN + len(media) * IMAGE_TOKENS_EXPECTED + 1,
        images=images,
        other_media=len(media) - images,
        output_tokens_asked=prompt.output_tokens_max,
        choices=prompt.choices,
        is_billed=not prompt.is_count,
    )


def _measure_embedding(prompt: Prompt, segments: Sequence[Segment]) -> Sizes:
    """Of texts that are embedded each for itself, with no words of a provider's around them: all that was said,
    and what a tokenizer or a task puts around each."""
    text_bytes = sum(len(segment.text.encode("utf-8", "replace")) for segment in segments)
    characters = sum(len(segment.text) for segment in segments)
    longest = max(len(segment.text) for segment in segments)
    return Sizes(
        input_tokens_max=text_bytes + _turns(prompt) * MESSAGE_TOKENS_MAX,
        input_tokens_estimate=characters // BYTES_A_TOKEN + 1,
        images=0,
        other_media=0,
        output_tokens_asked=None,
        choices=1,
        context_tokens_estimate=longest // BYTES_A_TOKEN + 1,
    )


def _turns(prompt: Prompt) -> int:
    """Messages that a host may get: what is one in the client's format may be several in another, one for each
    tool's result, for a picture in one, and for what stands beside them."""
    if prompt.format == "openai-chat":
        return len(prompt.messages)
    return sum(max(1, len(message.parts)) for message in prompt.messages)


def _growth(prompt: Prompt) -> int:
    """By how many bytes a prompt may grow where it is written anew: ``1e15`` gets all its zeros, every object of an
    output schema ``additionalProperties``, and a call without an id one, as its result does."""
    schemas = [tool.parameters for tool in prompt.tools if tool.parameters is not None]
    growth = 0
    if prompt.format == "gemini":
        parts = sum(len(message.parts) for message in prompt.messages)
        growth += parts * CALL_ID_BYTES
    if prompt.output_schema is not None and prompt.output_schema.schema is not None:
        schemas.append(prompt.output_schema.schema)
        growth += prompt.output_schema.schema.count(b"{") * len(CLOSED_OBJECT)
    for schema in schemas:
        growth += len(_EXPONENT.findall(schema)) * EXPONENT_GROWTH
    return growth


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of targets at present: who is set aside, and what calls have shown."""

    health: Health
    observed: Observed


@dataclass(frozen=True, slots=True)
class Moment:
    """When and with what in mind a request is quoted: ``at`` and ``now`` are the same moment, as aware UTC and in
    seconds since the epoch; ``held`` are the tokens of it that targets hold, by name."""

    now: float
    at: datetime
    task: str | None = None
    held: Mapping[str, int] = field(default_factory=dict[str, int])


def quote(target: Target, sizes: Sizes, signals: Signals, moment: Moment) -> Quote:
    """The numbers of one target for one request."""
    name, now, at = target.name, moment.now, moment.at
    output_max = sizes.output_tokens_max(target)
    is_healthy, reason = signals.health.state(name, now)
    quality = quality_of(target, moment.task)
    if not sizes.is_billed:
        return Quote(0, 0, is_healthy=is_healthy, unhealthy_reason=reason, quality=quality)
    observed = signals.observed
    one = observed.expected_output(name, moment.task)
    expected = (OUTPUT_TOKENS_EXPECTED if one is None else round(one)) * sizes.choices
    cached = min(moment.held.get(name, 0), sizes.input_tokens_estimate) if moment.held else 0
    return Quote(
        expected_cost_nanousd=_within(
            expected_cost(
                target,
                input_tokens=sizes.input_tokens_estimate,
                output_tokens=min(output_max, expected),
                at=at,
                cache_read_tokens=cached,
            )
        ),
        worst_case_nanousd=_within(
            bound_cost(
                target,
                input_tokens_max=sizes.input_tokens_max,
                images=sizes.images,
                other_media=sizes.other_media,
                output_tokens_max=output_max,
                at=at,
            )
        ),
        expected_ttft_seconds=observed.expected_wait(name, now),
        is_healthy=is_healthy,
        unhealthy_reason=reason,
        quality=quality,
        cached_tokens=cached,
    )


def _within(nanousd: int | None) -> int | None:
    """An amount that proofs count with; what is more, nobody bounds."""
    return None if nanousd is None or nanousd > COST_NANOUSD_MAX else nanousd
