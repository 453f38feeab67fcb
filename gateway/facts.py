"""The one bridge from a prompt, its principal and the catalogue to what policy may look at.

Promises: every text of the prompt becomes a segment (messages, names, ids, tool definitions, arguments, results,
schemas, and members nobody modelled with their names), so that what is sent has been looked at. The escapes of JSON
are left as they came: the detectors undo them in every text.
"""

import re
from collections.abc import Sequence

from backends.target import Target
from backends.wire.prompt import (
    Media,
    Message,
    Opaque,
    Part,
    Prompt,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from backends.wire.signatures import ISSUERS
from gateway.errors import refuse
from policies.facts import (
    DATA_CLASSES,
    EMBED,
    TASK_PATTERN,
    DataClass,
    Segment,
    TargetFacts,
)

HEADER_DATA_CLASS = "x-data-class"
HEADER_TASK = "x-moegate-task"
_TASK = re.compile(TASK_PATTERN)

_SIGNATURE = re.compile(r"[A-Za-z0-9+/_=-]{64,}")
"""Base64, longer than what anybody writes: providers sign with hundreds of characters."""

MEDIA_URLS = "media_urls"
"""Capability of targets that fetch media by themselves. Hosts outside do; a worker of one's own does
not get the chance, for it would fetch from inside the network whatever a prompt names."""


def segments(prompt: Prompt) -> list[Segment]:
    """Every text of the prompt, in order; kinds and roles as :class:`Segment` names them."""
    return [*message_segments(prompt), *other_segments(prompt)]


def message_segments(prompt: Prompt) -> list[Segment]:
    """Every text of its messages."""
    found: list[Segment] = []
    for message in prompt.messages:
        if message.name:
            found.append(Segment(message.role, "name", message.name))
        for part in message.parts:
            _part_segments(message, part, found)
    return found


def other_segments(prompt: Prompt) -> list[Segment]:
    """Every text beside its messages: tools, schemas, and what nobody modelled."""
    found: list[Segment] = []
    for tool in prompt.tools:
        text = tool.name if tool.description is None else f"{tool.name}\n{tool.description}"
        found.append(Segment("tool", "tool_definition", text))
        if tool.parameters is not None:
            found.append(Segment("tool", "tool_definition", _as_text(tool.parameters)))
    found.extend(
        Segment("tool", "tool_definition", _as_text(tool.raw)) for tool in prompt.provider_tools
    )
    if prompt.output_schema is not None:
        schema = prompt.output_schema
        found.append(Segment("tool", "other", f"{schema.name}\n{schema.description or ''}"))
        if schema.schema is not None:
            found.append(Segment("tool", "other", _as_text(schema.schema)))
    if prompt.tool_choice is not None and prompt.tool_choice.name is not None:
        found.append(Segment("tool", "name", prompt.tool_choice.name))
    found.extend(Segment("user", "other", stop) for stop in prompt.sampling.stop)
    if prompt.sampling.seed is not None:
        found.append(Segment("user", "other", str(prompt.sampling.seed)))
    found.extend(
        Segment("user", "other", hint)
        for hint in (prompt.hints.user, prompt.hints.cache_key)
        if hint
    )
    if prompt.unknown:
        found.append(Segment("user", "other", "\n".join(prompt.unknown)))
        found.extend(Segment("user", "other", _as_text(raw)) for raw in prompt.unknown.values())
    return found


def _as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _part_segments(message: Message, part: Part, found: list[Segment]) -> None:
    role = message.role
    if isinstance(part, Text | Refusal):
        found.append(Segment(role, "text", part.text))
    elif isinstance(part, ToolCall):
        found.append(Segment(role, "name", f"{part.name}\n{part.id}"))
        found.append(Segment(role, "tool_call", part.arguments))
        _signature_segments(message, part, found)
    elif isinstance(part, ToolResult):
        found.append(Segment(role, "name", f"{part.name or ''}\n{part.call_id}"))
        for inner in part.content:
            if isinstance(inner, Text):
                found.append(Segment(role, "tool_result", inner.text))
            else:
                _part_segments(message, inner, found)
    elif isinstance(part, Reasoning):
        found.append(Segment(role, "reasoning", part.text))
        if part.id:
            found.append(Segment(role, "name", part.id))
        _signature_segments(message, part, found)
    elif isinstance(part, Opaque):
        found.append(Segment(role, "other", f"{part.kind}\n{_as_text(part.raw)}"))
    else:
        texts = (part.name, part.url, part.media_type, part.detail, part.file_id)
        found.append(Segment(role, "name", "\n".join(text for text in texts if text)))


def _signature_segments(message: Message, part: Reasoning | ToolCall, found: list[Segment]) -> None:
    """A signature is random to all but its issuer, and is not looked at; what is none, is. Nor can an issuer's name
    that is nobody's hide a text."""
    if part.signature is not None and _SIGNATURE.fullmatch(part.signature) is None:
        found.append(Segment(message.role, "other", part.signature))
    if part.issuer is not None and part.issuer not in ISSUERS.values():
        found.append(Segment(message.role, "other", part.issuer))


def media_of(prompt: Prompt) -> list[Media]:
    """Every image, audio and document of the prompt, also inside tool results."""
    found: list[Media] = []
    for message in prompt.messages:
        for part in message.parts:
            if isinstance(part, Media):
                found.append(part)
            elif isinstance(part, ToolResult):
                found.extend(inner for inner in part.content if isinstance(inner, Media))
    return found


def needs_of(prompt: Prompt, media: Sequence[Media]) -> frozenset[str]:
    """The capabilities without which a target cannot take the prompt."""
    needs: set[str] = set() if prompt.embedding is None else {EMBED}
    if media:
        needs |= {f"{item.kind}s" if item.kind != "audio" else "audio" for item in media}
        if any(item.url is not None for item in media):
            needs.add(MEDIA_URLS)
    if prompt.tools:
        needs.add("tools")
    if prompt.output_schema is not None and prompt.output_schema.schema is not None:
        needs.add("json_schema")
    if prompt.choices > 1:
        needs.add("choices")
    return frozenset(needs)


def read_task(said: str | None) -> str | None:
    """The kind of task that the caller names. Raises ``Refused`` for what is no word."""
    if said is not None and _TASK.fullmatch(said) is None:
        raise refuse(
            "invalid_request",
            f"`{said[:40]}` in header `{HEADER_TASK}` is no word for a task: lower-case letters, digits, `.`, `_` and "
            "`-`, 40 at most",
            code="invalid_value",
            param=HEADER_TASK,
        )
    return said


def raise_class(base: DataClass, asked: str | None) -> DataClass:
    """The higher of the key's class and the caller's. Raises ``Refused`` for an unknown class."""
    if asked is None:
        return base
    wanted = asked.strip().lower()
    for known in DATA_CLASSES:
        if known == wanted:
            return known if DATA_CLASSES.index(known) > DATA_CLASSES.index(base) else base
    raise refuse(
        "invalid_request",
        f"unknown data class `{asked[:40]}` in header `{HEADER_DATA_CLASS}`; it is one of "
        + ", ".join(DATA_CLASSES),
        code="invalid_value",
        param=HEADER_DATA_CLASS,
    )


def target_facts(target: Target) -> TargetFacts:
    """A target as policy sees it."""
    return TargetFacts(
        name=target.name,
        provider=target.provider,
        model=target.model,
        boundary=target.boundary,
        region=target.region,
        capabilities=target.capabilities
        | (frozenset({MEDIA_URLS}) if target.boundary == "external" else frozenset()),
        context_tokens_max=target.context_tokens_max,
        output_tokens_max=target.output_tokens_max,
        retention_days=target.retention_days,
        trains_on_inputs=target.trains_on_inputs,
    )
