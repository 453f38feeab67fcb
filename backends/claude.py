"""Anthropic's Messages API: address, key, version; the codec does the rest."""

import time
from collections.abc import Callable, Mapping

import msgspec

from backends.adapter import Outbound, Terms
from backends.counting import Counter, keep_members
from backends.embeddings import refuse_embedding
from backends.target import Endpoint, Target
from backends.wire.anthropic_messages import (
    EVENT_BYTES_MAX,
    EventParser,
    choose_betas,
    find_answer_tool,
    patch_request,
    read_error,
    render_request,
)
from backends.wire.failure import Failure
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt, WireFormat
from backends.wire.relay import PassRelay, TranslatingRelay, fold_answer, pass_answer
from backends.wire.rendering import name_losses

OWN: WireFormat = "anthropic-messages"
COUNTED = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "cache_control",
    }
)
"""Members of a request that count (API reference, "Count tokens in a Message", November 2026); others are refused."""
VERSION = "2023-06-01"
"""The one version of the API that its SDKs send."""


class ClaudeAdapter:
    """See :class:`backends.adapter.ProviderAdapter`."""

    load = None

    def __init__(
        self, endpoints: Mapping[str, Endpoint], now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._counter = Counter(OWN, "input_tokens", self._prepare_count, read_error)
        self._hosts = {
            name: (f"{endpoint.base_urls[0]}/v1/messages", _headers(endpoint))
            for name, endpoint in endpoints.items()
        }

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        refuse_embedding(prompt, target)
        url, headers = self._hosts[target.endpoint]
        if prompt.format == OWN:
            return _pass(prompt, target, terms, url, headers)
        rendered = render_request(
            prompt,
            model=target.model,
            output_cap=terms.output_cap,
            output_tokens_default=target.output_tokens_max,
        )
        return Outbound(
            target.name, url, headers, rendered.body, prompt.is_stream, rendered.dropped
        )

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """See :class:`backends.adapter.ProviderAdapter`."""
        if prompt.format == OWN:
            return PassRelay(EventParser(), prompt, EVENT_BYTES_MAX)
        tool = find_answer_tool(prompt, target.model)
        return TranslatingRelay(EventParser(created_at=int(self._now()), answer_tool=tool), prompt)

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        if prompt.format == OWN:
            return pass_answer(body, EventParser().read_answer(body))
        tool = find_answer_tool(prompt, target.model)
        parser = EventParser(created_at=int(self._now()), answer_tool=tool)
        return fold_answer(prompt, parser.read_answer(body), tuple(parser.dropped))

    def find_counter(self, target: Target) -> Counter:
        """See :class:`backends.adapter.ProviderAdapter`."""
        del target
        return self._counter

    def _prepare_count(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        asked = self.prepare(prompt, target, terms)
        body = asked.body if prompt.format == OWN else keep_members(asked.body, COUNTED)
        url = f"{asked.url}/count_tokens"
        return msgspec.structs.replace(asked, url=url, body=body, is_stream=False)

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return read_error(status, headers, body)


def _pass(
    prompt: Prompt, target: Target, terms: Terms, url: str, headers: tuple[tuple[str, str], ...]
) -> Outbound:
    """The client's own bytes, with the betas that may travel."""
    body, tools = patch_request(
        prompt,
        model=target.model,
        output_cap=terms.output_cap,
        allows_provider_tools=terms.allows_provider_tools,
    )
    betas, lost = choose_betas(prompt.asked.betas)
    if betas:
        headers = (*headers, ("anthropic-beta", ",".join(betas)))
    dropped = name_losses((*tools, *lost))
    return Outbound(target.name, url, headers, body, prompt.is_stream, dropped)


def _headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    headers = [
        ("content-type", "application/json"),
        ("anthropic-version", VERSION),
        *endpoint.extra_headers,
    ]
    if endpoint.credential is not None:
        headers.append(("x-api-key", endpoint.credential.reveal()))
    return tuple(headers)
