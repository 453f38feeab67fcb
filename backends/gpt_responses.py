"""Hosts of OpenAI's Responses: a Responses client's body passes as bytes, and so does the answer.

Clients whose format carries foreign signatures are asked for there too where thinking is at stake: in a chat OpenAI
does not give what a next turn needs to go on with it.
"""

from backends.adapter import Outbound, Terms
from backends.target import Target
from backends.wire.openai_responses import (
    ISSUER,
    OUTPUT_TOKENS_MIN,
    EventParser,
    can_reason,
    patch_request,
    render_request,
)
from backends.wire.openai_responses.kept import say_kept
from backends.wire.openai_responses.passing import ResponsesPassRelay
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Media, Prompt, Reasoning, ToolResult, WireFormat
from backends.wire.relay import TranslatingRelay, fold_answer, pass_answer
from backends.wire.rendering import find_effort, name_losses

OWN: WireFormat = "openai-responses"
HOSTS = frozenset({"openai"})
"""Providers that are asked in this format by clients who speak it. Others have the endpoint too (xAI, DeepSeek,
OpenRouter), but what they sign is not OpenAI's, and nothing in the format says whose it is."""

_CARRIERS: frozenset[WireFormat] = frozenset({"anthropic-messages", "gemini"})
"""Other formats whose clients bring encrypted thinking back."""


def prefers_responses(prompt: Prompt, target: Target) -> bool:
    """Whether ``target`` is asked in this format: what its client speaks, or where its thinking goes on in.

    What only a chat takes whole stays there.
    """
    if target.provider not in HOSTS:
        return False
    if prompt.format == OWN:
        return True
    return (
        prompt.format in _CARRIERS
        and can_reason(target.model)
        and (_asks_to_think(prompt) or _holds_thinking(prompt))
        and not _needs_chat(prompt)
    )


def _asks_to_think(prompt: Prompt) -> bool:
    effort = find_effort(prompt)
    return effort != "none" and (effort is not None or prompt.shows_reasoning is True)


def _holds_thinking(prompt: Prompt) -> bool:
    """Whether OpenAI's own thinking came back with the conversation."""
    return any(
        isinstance(part, Reasoning) and part.issuer == ISSUER
        for message in prompt.messages
        if message.role == "assistant"
        for part in message.parts
    )


def _needs_chat(prompt: Prompt) -> bool:
    """Whether the format refuses or leaves out what a chat takes."""
    sampling, cap = prompt.sampling, prompt.output_tokens_max
    return bool(
        prompt.choices > 1
        or (cap is not None and cap < OUTPUT_TOKENS_MIN)
        or sampling.stop
        or sampling.seed is not None
        or sampling.presence_penalty
        or sampling.frequency_penalty
        or _holds_audio(prompt)
    )


def _holds_audio(prompt: Prompt) -> bool:
    return any(
        isinstance(one, Media) and one.kind == "audio"
        for message in prompt.messages
        for part in message.parts
        for one in (part.content if isinstance(part, ToolResult) else (part,))
    )


def prepare_responses(
    prompt: Prompt, target: Target, terms: Terms, url: str, headers: tuple[tuple[str, str], ...]
) -> Outbound:
    """The request for a host of the format: the client's own bytes if it speaks it too. Raises ``WireError``."""
    if prompt.format == OWN:
        body, lost = patch_request(
            prompt,
            model=target.model,
            output_cap=terms.output_cap,
            allows_provider_tools=terms.allows_provider_tools,
            asks_signatures=can_reason(target.model),
        )
        dropped = name_losses(lost)
    else:
        rendered = render_request(
            prompt,
            model=target.model,
            output_cap=terms.output_cap,
            output_tokens_default=target.output_tokens_max,
            # OpenAI answers 400 to organisations that it has not verified (continuedev/continue issue 9666), and
            # whoever speaks another format asked for no summary by name.
            asks_summary=False,
        )
        body, dropped = rendered.body, rendered.dropped
    return Outbound(target.name, url, headers, body, prompt.is_stream, dropped)


def open_responses_stream(prompt: Prompt) -> StreamRelay:
    """The relay of a stream in the format."""
    if prompt.format == OWN:
        return ResponsesPassRelay(prompt)
    return TranslatingRelay(EventParser(), prompt)


def read_responses_answer(prompt: Prompt, body: bytes) -> Answer:
    """A plain answer in the format. Raises ``WireError``."""
    parser = EventParser()
    events = parser.read_answer(body)
    if prompt.format == OWN:
        if prompt.kept is not None:
            body = say_kept(body, prompt.kept)
        return pass_answer(body, events)
    return fold_answer(prompt, events, tuple(parser.dropped))
