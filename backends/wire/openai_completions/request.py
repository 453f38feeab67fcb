"""A Completions request → prompt: its text becomes the one turn of a user.

Promises: one text a request; what cannot be looked into (numbers of tokens) or would ask for more than is billed
for (``best_of``) is refused with its place; members that are not modelled are kept by name. Source: OpenAI's
OpenAPI document of 2026-08-21, ``CreateCompletionRequest``.
"""

from collections.abc import Mapping

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.json_scan import read_object
from backends.wire.prompt import Hints, Json, Message, Prompt, Sampling, Text
from backends.wire.reading import check_range, explain_invalid, too_many

OUTPUT_TOKENS_DEFAULT = 16
"""OpenAI's own default for ``max_tokens``, and that of SGLang and vLLM."""
MEMBERS_MAX = 256
CHOICES_MAX = 128
STOPS_MAX = 4
LOGPROBS_MAX = 5
TOKENS_MAX = 2**31 - 1


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class _Said(msgspec.Struct):
    """The body, as far as the prompt models it."""

    model: str
    prompt: str | list[object] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    user: str | None = None
    suffix: str | None = None
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None


_SEEN_ONLY = frozenset({"echo", "logprobs"})
"""Checked here, and kept as unmodelled members, for no chat has them."""
_KNOWN = frozenset(_Said.__struct_fields__) - _SEEN_ONLY
_KNOWN_OPTIONS = frozenset(_Options.__struct_fields__)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_request(raw: bytes) -> Prompt:
    """The prompt in ``raw``. Raises ``WireError`` with the path of what is wrong."""
    tree = read_object(raw)
    if len(tree) > MEMBERS_MAX:
        raise invalid_request(f"the body may hold at most {MEMBERS_MAX} members")
    try:
        said = msgspec.convert(tree, _Said)
    except msgspec.ValidationError as error:
        raise explain_invalid(error, ()) from error
    _check(said, tree)
    stop = (said.stop,) if isinstance(said.stop, str) else tuple(said.stop or ())
    options = said.stream_options
    return Prompt(
        format="openai-completions",
        raw=raw,
        request_model=said.model,
        messages=(Message("user", (Text(_text(said.prompt)),)),),
        sampling=Sampling(
            temperature=said.temperature,
            top_p=said.top_p,
            top_k=said.top_k,
            seed=said.seed,
            stop=stop,
            presence_penalty=said.presence_penalty,
            frequency_penalty=said.frequency_penalty,
        ),
        output_tokens_max=OUTPUT_TOKENS_DEFAULT if said.max_tokens is None else said.max_tokens,
        hints=Hints(user=said.user),
        choices=said.n or 1,
        is_stream=bool(said.stream),
        wants_usage=bool(options is not None and options.include_usage),
        unknown=_collect_unknown(tree, raw),
    )


def _text(prompt: str | list[object] | None) -> str:
    """The one text. Raises ``WireError``."""
    if isinstance(prompt, str):
        return prompt
    if prompt is None:
        message = "`prompt` is missing"
        raise invalid_request(message, param="prompt", code="missing_required_parameter")
    if not prompt:
        raise invalid_request("`prompt` must not be empty", param="prompt", code="empty_array")
    first = prompt[0]
    if not all(isinstance(one, str) for one in prompt):
        message = (
            "`prompt` must be a text: numbers of tokens are another text at each model, and no "
            "privacy detector can look into them"
        )
        raise invalid_request(message, param="prompt", code="invalid_type")
    if len(prompt) > 1 or not isinstance(first, str):
        message = "`prompt` may hold one text a request; send one request for each"
        raise invalid_request(message, param="prompt", code="array_above_max_length")
    return first


def _check(said: _Said, tree: Mapping[str, Json]) -> None:
    """What types do not say."""
    if not said.model:
        raise invalid_request("`model` must not be empty", param="model")
    if tree.get("max_completion_tokens") is not None:
        raise _untaken("max_completion_tokens", "is a chat's word: send `max_tokens`")
    if said.suffix:
        raise _untaken("suffix", "is not taken: nobody here fills in what stands between two texts")
    if said.best_of is not None and said.best_of != (said.n or 1):
        raise _untaken("best_of", "must be what `n` is: answers that are not shown are billed too")
    if isinstance(said.stop, list) and len(said.stop) > STOPS_MAX:
        raise too_many("stop", STOPS_MAX)
    check_range("max_tokens", said.max_tokens, 1, TOKENS_MAX)
    check_range("n", said.n, 1, CHOICES_MAX)
    check_range("logprobs", said.logprobs, 0, LOGPROBS_MAX)
    check_range("temperature", said.temperature, 0, 2)
    check_range("top_p", said.top_p, 0, 1)
    check_range("top_k", said.top_k, -1, TOKENS_MAX)
    check_range("presence_penalty", said.presence_penalty, -2, 2)
    check_range("frequency_penalty", said.frequency_penalty, -2, 2)


def _untaken(name: str, why: str) -> WireError:
    return invalid_request(f"`{name}` {why}", param=name, code="unsupported_parameter")


def _collect_unknown(tree: Mapping[str, Json], raw: bytes) -> dict[str, bytes]:
    """Members that the prompt does not model, as they came; a bias of nothing is none."""
    extra = [name for name in tree if name not in _KNOWN]
    found: dict[str, bytes] = {}
    if extra:
        members = _MEMBERS.decode(raw)
        found = {name: bytes(members[name]) for name in extra}
        if tree.get("logit_bias") == {}:
            del found["logit_bias"]
    options = tree.get("stream_options")
    if isinstance(options, dict):
        for name, value in options.items():
            if name not in _KNOWN_OPTIONS:
                found[f"stream_options.{name}"] = msgspec.json.encode(value)
    return found
