"""Google's generateContent: the model stands in the path, the key in a header and never in the URL."""

import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

from backends.adapter import Outbound, Terms
from backends.counting import Counter
from backends.embeddings import prepare_at_google, read_from_google
from backends.target import Endpoint, Target
from backends.wire.failure import Failure
from backends.wire.gemini import EventParser, read_error, render_request
from backends.wire.gemini.passing import open_pass_relay, pass_answer
from backends.wire.gemini.patch import patch_request, set_member
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt, WireFormat
from backends.wire.relay import TranslatingRelay, fold_answer

FORMAT: WireFormat = "gemini"
"""Clients of this format get and give their own bytes."""


class GeminiAdapter:
    """See :class:`backends.adapter.ProviderAdapter`."""

    load = None

    def __init__(
        self, endpoints: Mapping[str, Endpoint], now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._counter = Counter(FORMAT, "totalTokens", self._prepare_count, read_error)
        self._hosts = {
            name: (f"{endpoint.base_urls[0]}/v1beta/models/", _headers(endpoint))
            for name, endpoint in endpoints.items()
        }

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        base, headers = self._hosts[target.endpoint]
        if prompt.embedding is not None:
            address = f"{base}{quote(target.model, safe='')}"
            return prepare_at_google(prompt, target, address, headers)
        if prompt.format == FORMAT:
            body, dropped = patch_request(
                prompt,
                model=target.model,
                output_cap=terms.output_cap,
                allows_provider_tools=terms.allows_provider_tools,
            )
        else:
            rendered = render_request(
                prompt,
                model=target.model,
                output_cap=terms.output_cap,
                output_tokens_default=target.output_tokens_max,
            )
            body, dropped = rendered.body, rendered.dropped
        verb = "streamGenerateContent?alt=sse" if prompt.is_stream else "generateContent"
        url = f"{base}{quote(target.model, safe='')}:{verb}"
        return Outbound(target.name, url, headers, body, prompt.is_stream, dropped)

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """See :class:`backends.adapter.ProviderAdapter`."""
        del target
        if prompt.format == FORMAT:
            return open_pass_relay(prompt, created_at=int(self._now()))
        return TranslatingRelay(EventParser(created_at=int(self._now())), prompt)

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        if prompt.embedding is not None:
            return read_from_google(prompt, target, body)
        if prompt.format == FORMAT:
            return pass_answer(body)
        parser = EventParser(created_at=int(self._now()))
        return fold_answer(prompt, parser.read_answer(body), tuple(parser.dropped))

    def find_counter(self, target: Target) -> Counter:
        """See :class:`backends.adapter.ProviderAdapter`."""
        del target
        return self._counter

    def _prepare_count(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        asked = self.prepare(prompt, target, terms)
        model = set_member(asked.body, ("model",), msgspec.json.encode(f"models/{target.model}"))
        base, _headers = self._hosts[target.endpoint]
        url = f"{base}{quote(target.model, safe='')}:countTokens"
        body = b'{"generateContentRequest":%b}' % model
        return msgspec.structs.replace(asked, url=url, body=body, is_stream=False)

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return read_error(status, headers, body)


def _headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    headers = [("content-type", "application/json"), *endpoint.extra_headers]
    if endpoint.credential is not None:
        headers.append(("x-goog-api-key", endpoint.credential.reveal()))
    return tuple(headers)
