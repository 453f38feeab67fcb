"""OpenAI and every host that speaks its chat format: a client's own bytes pass, patched; others are rendered.

OpenAI itself is asked in its Responses by clients who speak that, and by others whose format keeps its thinking.
"""

from collections.abc import Mapping

import msgspec

from backends.adapter import Outbound, Terms
from backends.counting import Counter, keep_members
from backends.embeddings import prepare_at_openai, read_from_openai
from backends.gpt_responses import (
    HOSTS,
    OWN,
    open_responses_stream,
    prefers_responses,
    prepare_responses,
    read_responses_answer,
)
from backends.pass_through import (
    bearer_headers,
    open_chat_stream,
    prepare_chat,
    read_chat_answer,
)
from backends.target import Endpoint, Target
from backends.wire.failure import Failure
from backends.wire.openai_chat import read_error
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt

COUNTED = frozenset(
    {
        "model",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "reasoning",
        "truncation",
    }
)
"""Members of a request that ``/responses/input_tokens`` counts (OpenAPI document of 2026-08-21)."""


class GptAdapter:
    """See :class:`backends.adapter.ProviderAdapter`."""

    load = None

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._counter = Counter(OWN, "input_tokens", self._prepare_count, read_error)
        self._hosts = {
            name: (
                f"{endpoint.base_urls[0]}/chat/completions",
                f"{endpoint.base_urls[0]}/responses",
                f"{endpoint.base_urls[0]}/embeddings",
                bearer_headers(endpoint),
            )
            for name, endpoint in endpoints.items()
        }

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        chat_url, responses_url, embeddings_url, headers = self._hosts[target.endpoint]
        if prompt.embedding is not None:
            return prepare_at_openai(prompt, target, embeddings_url, headers)
        if prefers_responses(prompt, target):
            return prepare_responses(prompt, target, terms, responses_url, headers)
        return prepare_chat(prompt, target, terms, chat_url, headers)

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """See :class:`backends.adapter.ProviderAdapter`."""
        if prefers_responses(prompt, target):
            return open_responses_stream(prompt)
        return open_chat_stream(prompt)

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        if prompt.embedding is not None:
            return read_from_openai(prompt, body)
        if prefers_responses(prompt, target):
            return read_responses_answer(prompt, body)
        return read_chat_answer(prompt, body)

    def find_counter(self, target: Target) -> Counter | None:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return self._counter if target.provider in HOSTS else None

    def _prepare_count(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        _chat_url, url, _embeddings_url, headers = self._hosts[target.endpoint]
        if prompt.format != OWN:
            # What the count does not depend on, and only a chat could answer: that is who would be asked.
            prompt = msgspec.structs.replace(prompt, output_tokens_max=None, choices=1)
        asked = prepare_responses(prompt, target, terms, f"{url}/input_tokens", headers)
        body = keep_members(asked.body, COUNTED)
        return msgspec.structs.replace(asked, body=body, is_stream=False)

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return read_error(status, headers, body)
