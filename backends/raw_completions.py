"""Servers of one's own that complete a bare text: a Completions client's body passes as bytes, and so does the answer.

Only there: what a base model goes on from is the text itself, which no chat turn would be. Everybody else gets the
text as a user's turn.
"""

from backends.adapter import Outbound, Terms
from backends.pass_through import controls_in, is_sent
from backends.target import Target
from backends.wire.openai_chat import patch_request
from backends.wire.openai_completions import EventParser
from backends.wire.openai_completions.passing import CompletionsPassRelay
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt, WireFormat
from backends.wire.relay import pass_answer

OWN: WireFormat = "openai-completions"
ENGINES = frozenset({"sglang", "sglang-router", "vllm", "ollama", "lmstudio", "simulator"})
"""Engines with the endpoint; of a server that is not known only a chat is sure."""

UNREADABLE = frozenset({"prompt_embeds"})
"""vLLM's other way to say the prompt: nobody could look into it."""


def takes_text(prompt: Prompt, target: Target) -> bool:
    """Whether ``prompt`` reaches ``target`` as the bare text that it is."""
    return prompt.format == OWN and target.provider in ENGINES


def prepare_completion(
    prompt: Prompt, target: Target, terms: Terms, url: str, headers: tuple[tuple[str, str], ...]
) -> Outbound:
    """The client's own bytes: ``model``, the cap, usage asked for in streams, an owner's controls left out."""
    strip = controls_in(prompt) | UNREADABLE
    caps = [cap for cap in (prompt.output_tokens_max, terms.output_cap) if cap is not None]
    body = patch_request(
        prompt,
        model=target.model,
        output_cap=min(caps, default=None),
        ask_usage=prompt.is_stream,
        strip=strip,
        cap_name="max_tokens",
    )
    dropped = tuple(sorted(name for name in strip if is_sent(prompt, name)))
    return Outbound(target.name, url, headers, body, prompt.is_stream, dropped)


def open_completion_stream(prompt: Prompt) -> StreamRelay:
    """The relay of a stream in the format."""
    return CompletionsPassRelay(prompt)


def read_completion(prompt: Prompt, body: bytes) -> Answer:
    """A plain answer in the format. Raises ``WireError``."""
    return pass_answer(body, EventParser(choices=prompt.choices).read_answer(body))
