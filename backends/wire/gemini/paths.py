"""Gemini's addresses: the model and the verb stand in the path, how to stream in the query.

Does not know hosts or keys. Facts: Gemini API reference, google-genai 3.4.0.
"""

import re
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote_to_bytes

from backends.wire.prompt import Asked

Verb = Literal[
    "generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"
]

_PATH = re.compile(
    # Vercel's SDK leaves `models/` out before a name with a slash: `/v1beta/openai/gpt-5.5:generateContent`.
    r"/(?:v1beta|v1|v1alpha)/(?:models/|(?!models/|v1)(?=[^/:?#]{1,1000}/))([^/:?#]{1,1000}(?:[:/][^?#]{0,1000})?)(?::|%3[Aa])"
    r"(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)"
)


def parse_path(path: str, query: bytes) -> tuple[Asked, Verb] | None:
    """What an address asks for; None if it is none of Gemini's.

    ``path`` may be percent-encoded or decoded already; without ``alt=sse`` a stream is a JSON array.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    try:
        model = unquote_to_bytes(match[1]).decode()
    except UnicodeError:
        return None
    verb = cast("Verb", match[2])  # The pattern knows no other.
    is_stream = verb == "streamGenerateContent"
    options = (
        parse_qsl(query.decode("latin-1"), max_num_fields=64) if query.count(b"&") < 64 else []
    )
    is_sse = any(name in ("alt", "$alt") and value == "sse" for name, value in options)
    asked = Asked(
        model=model,
        is_stream=is_stream,
        is_array=is_stream and not is_sse,
        is_batch=verb == "batchEmbedContents",
    )
    return asked, verb
