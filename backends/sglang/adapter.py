"""SGLang workers, and other servers of one's own that speak OpenAI's chat format: bytes pass through."""

import re
from collections.abc import Iterator, Mapping
from itertools import cycle

import msgspec

from backends.adapter import Outbound, Terms
from backends.embeddings import prepare_at_openai, read_from_openai
from backends.pass_through import (
    bearer_headers,
    open_chat_stream,
    prepare_chat,
    read_chat_answer,
)
from backends.raw_completions import (
    open_completion_stream,
    prepare_completion,
    read_completion,
    takes_text,
)
from backends.target import Endpoint, Target
from backends.wire.failure import Failure
from backends.wire.openai_chat import read_error
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt

_PATH = re.compile(r"(?:/[\w.@+-]+){2,}")


class SglangAdapter:
    """See :class:`backends.adapter.ProviderAdapter`. Replicas take turns."""

    load = None

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._hosts: dict[str, tuple[Iterator[str], tuple[tuple[str, str], ...]]] = {
            name: (
                cycle([f"{base}/v1" for base in endpoint.base_urls]),
                bearer_headers(endpoint),
            )
            for name, endpoint in endpoints.items()
        }

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        urls, headers = self._hosts[target.endpoint]
        base = next(urls)
        if prompt.embedding is not None:
            return prepare_at_openai(prompt, target, f"{base}/embeddings", headers)
        if takes_text(prompt, target):
            return prepare_completion(prompt, target, terms, f"{base}/completions", headers)
        return prepare_chat(prompt, target, terms, f"{base}/chat/completions", headers)

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """See :class:`backends.adapter.ProviderAdapter`."""
        if takes_text(prompt, target):
            return open_completion_stream(prompt)
        return open_chat_stream(prompt)

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        if prompt.embedding is not None:
            return read_from_openai(prompt, body)
        if takes_text(prompt, target):
            return read_completion(prompt, body)
        return read_chat_answer(prompt, body)

    def find_counter(self, target: Target) -> None:
        """Nothing at these hosts counts; see :class:`backends.adapter.ProviderAdapter`."""
        del target

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        failure = read_error(status, headers, body)
        # SGLang quotes paths of its own files in answers to bad requests; they are nobody's business.
        return msgspec.structs.replace(failure, message=_PATH.sub("…", failure.message))
