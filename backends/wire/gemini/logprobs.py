"""Log probabilities of tokens as Gemini writes them: the chosen tokens, and beside each the most likely ones.

Source: Google's API reference, ``LogprobsResult`` (google-genai 3.4.0). Its tokens have ids and no bytes; nobody else
has its ids.
"""

import msgspec

from backends.wire.events import TokenLogprob

ALTERNATIVES_MAX = 20
"""As many stand beside a token at most (API reference, ``GenerationConfig.logprobs``)."""

Json = dict[str, object]


class _Token(msgspec.Struct, rename="camel"):
    log_probability: float
    token: str = ""


class _Top(msgspec.Struct):
    candidates: list[_Token] | None = None


class _Result(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] | None = None
    top_candidates: list[_Top] | None = None


_RESULT = msgspec.json.Decoder(_Result)


def read_result(raw: msgspec.Raw, dropped: dict[str, None]) -> list[TokenLogprob]:
    """The tokens of a candidate's ``logprobsResult``; what cannot be read is named in ``dropped``."""
    try:
        said = _RESULT.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        dropped["logprobsResult"] = None
        return []
    beside = [[_token(one) for one in step.candidates or ()] for step in said.top_candidates or ()]
    tokens = [_token(one) for one in said.chosen_candidates or ()]
    for at, token in enumerate(tokens[: len(beside)]):
        token.top_logprobs = beside[at]
    return tokens


def _token(said: _Token) -> TokenLogprob:
    return TokenLogprob(said.token, said.log_probability)


def render_result(tokens: list[TokenLogprob]) -> Json:
    """A candidate's ``logprobsResult``."""
    result: Json = {"chosenCandidates": [_candidate(one) for one in tokens]}
    if any(one.top_logprobs for one in tokens):
        result["topCandidates"] = [
            {"candidates": [_candidate(other) for other in one.top_logprobs]} for one in tokens
        ]
    return result


def _candidate(one: TokenLogprob) -> Json:
    return {"token": one.token, "logProbability": one.logprob}
