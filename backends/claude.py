"""Anthropic's Messages API: address, key, version; the codec does the rest."""

import time
from collections.abc import Callable, Mapping

from backends.adapter import Outbound, Terms
from backends.target import Endpoint, Target
from backends.wire.anthropic_messages import (
    EventParser,
    find_answer_tool,
    read_error,
    render_request,
)
from backends.wire.failure import Failure
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt
from backends.wire.relay import TranslatingRelay, fold_answer

VERSION = "2023-06-01"
"""The one version of the API that its SDKs send."""


class ClaudeAdapter:
    """See :class:`backends.adapter.ProviderAdapter`."""

    load = None

    def __init__(
        self, endpoints: Mapping[str, Endpoint], now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._hosts = {
            name: (f"{endpoint.base_urls[0]}/v1/messages", _headers(endpoint))
            for name, endpoint in endpoints.items()
        }

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        url, headers = self._hosts[target.endpoint]
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
        tool = find_answer_tool(prompt, target.model)
        return TranslatingRelay(EventParser(created_at=int(self._now()), answer_tool=tool), prompt)

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        tool = find_answer_tool(prompt, target.model)
        parser = EventParser(created_at=int(self._now()), answer_tool=tool)
        return fold_answer(prompt, parser.read_answer(body), tuple(parser.dropped))

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return read_error(status, headers, body)


def _headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    headers = [
        ("content-type", "application/json"),
        ("anthropic-version", VERSION),
        *endpoint.extra_headers,
    ]
    if endpoint.credential is not None:
        headers.append(("x-api-key", endpoint.credential.reveal()))
    return tuple(headers)
