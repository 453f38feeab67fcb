"""Hosts of OpenAI's Responses: a Responses client's body passes as bytes, and so does the answer."""

from backends.adapter import Outbound, Terms
from backends.target import Target
from backends.wire.openai_responses import (
    EventParser,
    can_reason,
    patch_request,
    render_request,
)
from backends.wire.openai_responses.kept import say_kept
from backends.wire.openai_responses.passing import ResponsesPassRelay
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt, WireFormat
from backends.wire.relay import TranslatingRelay, fold_answer, pass_answer
from backends.wire.rendering import name_losses

OWN: WireFormat = "openai-responses"
HOSTS = frozenset({"openai"})
"""Providers that are asked in this format by clients who speak it. Others have the endpoint too (xAI, DeepSeek,
OpenRouter), but what they sign is not OpenAI's, and nothing in the format says whose it is."""


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
