"""Hosts of OpenAI's chat format: what OpenAI, its relatives and SGLang share.

A client's own chat body passes as bytes, and so does the answer; prompts of other formats are rendered.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from backends.adapter import Outbound, Terms
from backends.target import Endpoint, Target
from backends.wire.openai_chat import (
    FOREIGN,
    ChatPassRelay,
    EventParser,
    holds_foreign,
    patch_request,
    read_answer,
    render_request,
)
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt
from backends.wire.relay import TranslatingRelay, fold_answer

NOT_TAKEN: Mapping[str, frozenset[str]] = {
    "openai": frozenset({"top_k"}),
    "mistral": frozenset(
        {"user", "metadata", "store", "logit_bias", "top_k", "logprobs", "top_logprobs"}
    ),
    "groq": frozenset({"logit_bias", "top_k", "store", "metadata", "logprobs", "top_logprobs"}),
}
"""Members that a host answers with an error; they are left out and listed."""

CONTROLS = frozenset(
    {
        "rid", "request_id", "priority", "lora_path", "session_id", "session_params", "cache_salt",
        "extra_key", "routed_dp_rank", "data_parallel_rank", "disagg_prefill_dp_rank", "bootstrap_host",
        "bootstrap_port", "bootstrap_room", "bootstrap_pair_key", "kv_transfer_params", "vllm_xargs",
        "custom_logit_processor", "custom_params", "chat_template", "mm_processor_kwargs",
        "return_hidden_states", "logits_processors", "input_ids", "media_io_kwargs",
    }
)  # fmt: skip
"""What a cluster's owner decides: scheduling, replicas, caches, code and templates. Engines take them from
anybody (SGLang 0.5.23, vLLM 0.11: their chat request's schema), so a client's are left out and listed."""

TEMPLATE_OPTIONS = "chat_template_kwargs"
"""What a client may switch in the owner's template (``enable_thinking``)."""

_TEMPLATE_WORD_CHARS_MAX = 64
_TEMPLATE_OPTIONS = msgspec.json.Decoder(
    dict[
        str,
        bool
        | int
        | float
        | Annotated[str, msgspec.Meta(max_length=_TEMPLATE_WORD_CHARS_MAX)]
        | None,
    ]
    | None
)
_TEMPLATE_ARGUMENTS = frozenset(
    {
        "conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt",
        "continue_final_message", "tokenize", "padding", "truncation", "max_length", "return_tensors",
        "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs",
    }
)  # fmt: skip
"""Engines hand the options on as arguments of transformers' ``apply_chat_template``: these are its own."""

CAP_NAMES: Mapping[str, str] = {
    "openai": "max_completion_tokens",
    "groq": "max_completion_tokens",
    "cerebras": "max_completion_tokens",
}
"""What a host calls the output cap; the others know ``max_tokens`` only."""


def prepare_chat(
    prompt: Prompt, target: Target, terms: Terms, url: str, headers: tuple[tuple[str, str], ...]
) -> Outbound:
    """The request for a host of the format: the client's own bytes if it speaks it too. Raises ``WireError``."""
    not_taken = NOT_TAKEN.get(target.provider, frozenset())
    cap_name = CAP_NAMES.get(target.provider, "max_tokens")
    if prompt.format != "openai-chat":
        rendered = render_request(
            prompt,
            model=target.model,
            output_cap=terms.output_cap,
            output_tokens_default=target.output_tokens_max,
            cap_name=cap_name,
            not_taken=not_taken,
        )
        return Outbound(
            target.name, url, headers, rendered.body, prompt.is_stream, rendered.dropped
        )
    strip = controls_in(prompt) if target.boundary == "self_hosted" else not_taken
    body = patch_request(
        prompt,
        model=target.model,
        output_cap=terms.output_cap,
        ask_usage=prompt.is_stream,
        strip=strip,
        cap_name=cap_name,
    )
    dropped = tuple(sorted(name for name in strip if is_sent(prompt, name))) if strip else ()
    if holds_foreign(prompt):
        dropped = (*dropped, FOREIGN)
    return Outbound(target.name, url, headers, body, prompt.is_stream, dropped)


def open_chat_stream(prompt: Prompt) -> StreamRelay:
    """The relay of a stream in the format."""
    if prompt.format == "openai-chat":
        return ChatPassRelay(prompt)
    return TranslatingRelay(EventParser(choices=prompt.choices), prompt)


def read_chat_answer(prompt: Prompt, body: bytes) -> Answer:
    """A plain answer in the format. Raises ``WireError``."""
    if prompt.format == "openai-chat":
        return read_answer(prompt, body)
    parser = EventParser(choices=prompt.choices)
    return fold_answer(prompt, parser.read_answer(body), tuple(parser.dropped))


def controls_in(prompt: Prompt) -> frozenset[str]:
    """The controls, and the options of the template unless they are switches and nothing else."""
    raw = prompt.unknown.get(TEMPLATE_OPTIONS)
    if raw is None:
        return CONTROLS
    try:
        options = _TEMPLATE_OPTIONS.decode(raw)
    except msgspec.DecodeError:
        return CONTROLS | {TEMPLATE_OPTIONS}
    is_plain = options is None or _TEMPLATE_ARGUMENTS.isdisjoint(options)
    return CONTROLS if is_plain else CONTROLS | {TEMPLATE_OPTIONS}


def is_sent(prompt: Prompt, name: str) -> bool:
    """Whether the client said ``name`` at all."""
    if name == "top_k":
        return prompt.sampling.top_k is not None
    if name == "logprobs":
        return prompt.logprobs is not None
    if name == "top_logprobs" and prompt.logprobs:
        return True
    return prompt.unknown.get(name, b"null") != b"null"


def bearer_headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """Headers of a JSON request with the endpoint's key as a bearer token."""
    headers = [("content-type", "application/json"), *endpoint.extra_headers]
    if endpoint.credential is not None:
        headers.append(("authorization", f"Bearer {endpoint.credential.reveal()}"))
    return tuple(headers)
