"""A usage object as any provider gives it, told apart by its members: for bills and reconciliation."""

import msgspec

from backends.wire.anthropic_messages.usage import RawUsage as ClaudeUsage
from backends.wire.anthropic_messages.usage import normalise_usage as normalise_claude
from backends.wire.failure import WireError, invalid_request
from backends.wire.gemini.answer import parse_usage as parse_gemini
from backends.wire.openai_chat.usage import OutputDetails, PromptDetails
from backends.wire.openai_chat.usage import RawUsage as ChatUsage
from backends.wire.openai_chat.usage import normalise_usage as normalise_chat
from backends.wire.usage import Usage

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_provider_usage(raw: bytes) -> Usage:
    """Usage in OpenAI's, Anthropic's, Gemini's or our own words, alone or as ``usage`` of a whole answer.

    Raises ``WireError`` for anything else.
    """
    try:
        members = _MEMBERS.decode(raw)
        for name in ("usage", "usageMetadata"):
            if name in members:
                raw = bytes(members[name])
                members = _MEMBERS.decode(raw)
        usage = _parse(raw, frozenset(members))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid_request(f"this is no usage object: {error}") from error
    if usage is None:
        raise invalid_request("this usage object counts nothing")
    return usage


class _Responses(msgspec.Struct):
    """OpenAI's newer words (Responses) for what its chat format counts."""

    input_tokens: int
    output_tokens: int
    total_tokens: int | None = None
    input_tokens_details: PromptDetails | None = None
    output_tokens_details: OutputDetails | None = None


def _from_responses(raw: bytes) -> ChatUsage:
    said = msgspec.json.decode(raw, type=_Responses)
    return ChatUsage(
        prompt_tokens=said.input_tokens,
        completion_tokens=said.output_tokens,
        total_tokens=said.total_tokens,
        prompt_tokens_details=said.input_tokens_details,
        completion_tokens_details=said.output_tokens_details,
    )


def _parse(raw: bytes, known: frozenset[str]) -> Usage | None:
    if "promptTokenCount" in known:
        return parse_gemini(raw)
    if "prompt_tokens" in known:
        return normalise_chat(msgspec.json.decode(raw, type=ChatUsage))
    if known & {"input_tokens_details", "output_tokens_details"}:
        return normalise_chat(_from_responses(raw))
    if known & {"cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"}:
        return normalise_claude(msgspec.json.decode(raw, type=ClaudeUsage))
    if known & {"input_tokens", "output_tokens"} and known <= set(Usage.__struct_fields__):
        return msgspec.json.decode(raw, type=Usage)
    if "input_tokens" in known:
        return normalise_claude(msgspec.json.decode(raw, type=ClaudeUsage))
    raise WireError(invalid_request("this usage object is in nobody's words").failure)
