"""Hosts that give vectors: a client's own body passes as bytes, and so does the answer; others are rendered.

An answer whose numbers are written in another way than the client asked is encoded anew, in the same format too.
"""

from collections.abc import Mapping

from backends.adapter import Outbound
from backends.pass_through import CONTROLS, is_sent
from backends.target import Target
from backends.wire import gemini_embeddings, openai_embeddings
from backends.wire.clients import EMBEDDERS
from backends.wire.embeddings import Embeddings, describe_outcome, is_base64
from backends.wire.failure import invalid_request
from backends.wire.outcome import Answer
from backends.wire.prompt import Prompt, WireFormat

OPENAI: WireFormat = "openai-embeddings"
GEMINI: WireFormat = "gemini-embeddings"
KNOWS_BASE64 = frozenset({"openai"})
"""Hosts outside that write numbers in base64; servers of one's own do, or write numbers all the same."""
DIMENSIONS_NAMES: Mapping[str, str] = {"mistral": "output_dimension"}
"""What a host calls the number of dimensions, where that is not OpenAI's word."""
OTHER_INPUTS = frozenset({"messages", "prompt_embeds"})
"""vLLM's other ways to say what is embedded: nobody could look into them."""

Headers = tuple[tuple[str, str], ...]


def prepare_at_openai(prompt: Prompt, target: Target, url: str, headers: Headers) -> Outbound:
    """The request for a host of OpenAI's format. Raises ``WireError``."""
    dimensions_name = DIMENSIONS_NAMES.get(target.provider, "dimensions")
    if prompt.format != OPENAI:
        rendered = openai_embeddings.render_request(
            prompt, model=target.model, dimensions_name=dimensions_name
        )
        return Outbound(target.name, url, headers, rendered.body, False, rendered.dropped)
    is_own = target.boundary == "self_hosted"
    strip = CONTROLS | OTHER_INPUTS if is_own else frozenset[str]()
    body = openai_embeddings.patch_request(
        prompt,
        model=target.model,
        knows_base64=is_own or target.provider in KNOWS_BASE64,
        dimensions_name=dimensions_name,
        strip=strip,
    )
    dropped = tuple(sorted(name for name in strip if is_sent(prompt, name)))
    return Outbound(target.name, url, headers, body, False, dropped)


def read_from_openai(prompt: Prompt, body: bytes) -> Answer:
    """An answer in OpenAI's format. Raises ``WireError``."""
    said = openai_embeddings.parse_answer(prompt, body)
    asked = prompt.embedding
    wants_base64 = asked is not None and asked.is_base64
    as_asked = all(is_base64(vector) == wants_base64 for vector in said.vectors)
    return _answer(prompt, said, body if prompt.format == OPENAI and as_asked else None)


def prepare_at_google(prompt: Prompt, target: Target, base: str, headers: Headers) -> Outbound:
    """The request for Google; ``base``: the model's address. Raises ``WireError``."""
    verb = "batchEmbedContents"
    if prompt.format == GEMINI:
        body, dropped = gemini_embeddings.patch_request(prompt, model=target.model), ()
        verb = verb if prompt.asked.is_batch else "embedContent"
    else:
        rendered = gemini_embeddings.render_request(prompt, model=target.model)
        body, dropped = rendered.body, rendered.dropped
    return Outbound(target.name, f"{base}:{verb}", headers, body, False, dropped)


def read_from_google(prompt: Prompt, target: Target, body: bytes) -> Answer:
    """An answer of Google's. Raises ``WireError``."""
    said = gemini_embeddings.parse_answer(prompt, body, model=target.model)
    return _answer(prompt, said, body if prompt.format == GEMINI else None)


def refuse_embedding(prompt: Prompt, target: Target) -> None:
    """Raises ``WireError`` if ``prompt`` wants vectors, which this way to speak to hosts has no words for."""
    if prompt.embedding is not None:
        raise invalid_request(f"`{target.name}` gives no vectors", param="model")


def _answer(prompt: Prompt, said: Embeddings, body: bytes | None) -> Answer:
    if body is None:
        body = EMBEDDERS[prompt.format].render_embeddings(prompt, said)
    return Answer(body, describe_outcome(said))
