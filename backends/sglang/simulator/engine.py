"""What the simulator does instead of a model: tokens by rule, a prefix cache, time, words.

Tokens: runs of letters or digits, and every other character by itself, a leading space belonging to what
follows; about as many as a real tokenizer makes of English. The cache keeps blocks of a conversation's
tokens by the hash of everything before them, as a radix cache shares prefixes, and forgets the least
recently used beyond ``kv_tokens``.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

BLOCK_TOKENS = 16
TEMPLATE_TOKENS = 4
"""Tokens of a chat template around one message."""
_TOKEN = re.compile(r" ?(?:[^\W\d_]{1,8}|\d{1,4}|.)", re.DOTALL)

MODEL = "moegate-simulator"


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """``ttft_ms``: time to the first token; ``tpot_ms``: time for each further one;
    ``prefill_tokens_per_second`` (0: instant) adds for each token that the cache lacks. ``is_embedder``:
    it gives vectors and no answers, as SGLang does that was started so."""

    model: str = MODEL
    ttft_ms: float = 0.0
    tpot_ms: float = 0.0
    prefill_tokens_per_second: float = 0.0
    kv_tokens: int = 65_536
    context_tokens_max: int = 32_768
    is_embedder: bool = False


class PrefixCache:
    """Blocks of tokens that were seen before."""

    def __init__(self, kv_tokens: int) -> None:
        self._blocks: OrderedDict[bytes, None] = OrderedDict()
        self._blocks_max = max(1, kv_tokens // BLOCK_TOKENS)

    def use(self, tokens: Sequence[str]) -> int:
        """How many leading ``tokens`` were cached; afterwards all whole blocks of them are.

        The last token is always computed, as a real worker must to have something to sample from.
        """
        cached, is_prefix = 0, True
        state = hashlib.blake2b(digest_size=16)
        for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            state.update("\x1f".join(tokens[start : start + BLOCK_TOKENS]).encode())
            key = state.digest()
            if key in self._blocks:
                self._blocks.move_to_end(key)
                if is_prefix:
                    cached = start + BLOCK_TOKENS
            else:
                is_prefix = False
                self._blocks[key] = None
                if len(self._blocks) > self._blocks_max:
                    self._blocks.popitem(last=False)
        return min(cached, max(0, len(tokens) - 1))

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()

    @property
    def tokens(self) -> int:
        """Tokens held."""
        return len(self._blocks) * BLOCK_TOKENS


@dataclass(slots=True)
class Load:
    """Counters of one worker, as its load and metrics pages show them."""

    running: int = 0
    requests: int = 0
    aborted: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    cached_tokens: int = 0


@dataclass(slots=True)
class Job:
    """One request: its prompt's tokens, what was cached, and the tokens of the answer to come."""

    prompt_tokens: int
    cached_tokens: int
    answer: list[str]
    finish_reason: str
    matched_stop: str | None = None
    call: tuple[str, str] | None = None
    used: int = field(default=0)


def tokenize(text: str) -> list[str]:
    """The tokens of ``text``; their concatenation is the text."""
    return _TOKEN.findall(text)


def write_answer(prompt_tokens: int, cached: int, said: str) -> str:
    """The words of the simulator: that it is one, what it saw, and the beginning of what was said."""
    shown = " ".join(said.split())
    if len(shown) > 120:
        shown = shown[:120] + "…"
    return (
        f"This is the moegate simulator, not a model. It received {prompt_tokens} tokens, of which "
        f"{cached} came from its prefix cache. You wrote: {shown}"
    )


def make_json(schema: object, depth: int = 0) -> object:
    """The smallest value that fits a JSON Schema's plain parts (types, enums, required members)."""
    if not isinstance(schema, dict) or depth > 20:
        return {}
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return make_json(schema[word][0], depth + 1)
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0] if kind else "object"
    if kind == "object":
        members = schema.get("properties") or {}
        needed = schema.get("required", list(members))
        return {name: make_json(members.get(name, {}), depth + 1) for name in needed}
    if kind == "array":
        return [make_json(schema.get("items", {}), depth + 1)] * int(schema.get("minItems", 0))
    plain: dict[str, object] = {"string": "simulated", "integer": 0, "number": 0, "boolean": False}
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    return plain.get(str(kind))


def cut(
    tokens: list[str], cap: int | None, stops: Sequence[str]
) -> tuple[list[str], str, str | None]:
    """The tokens up to a stop text or ``cap``, the finish reason, and the stop that matched."""
    text = "".join(tokens)
    places = [(text.find(stop), stop) for stop in stops if stop and stop in text]
    matched = None
    if places:
        end, matched = min(places)
        tokens = tokenize(text[:end])
    if cap is not None and len(tokens) > cap:
        return tokens[:cap], "length", None
    return tokens, "stop", matched


def schema_text(schema: object) -> str:
    """A minimal JSON answer as text."""
    return msgspec.json.encode(make_json(schema)).decode()
