"""What the parsers of requests share: the words for what is wrong, and where; checks that types do not make.

Promises: every error is an ``invalid_request`` with the path of what is wrong. Codes are OpenAI's; formats without
codes leave them out.
"""

import binascii
import re

import msgspec

from backends.wire.failure import WireError, invalid_request

Allowed = tuple[tuple[re.Pattern[str], str], ...]
"""What may stand at a path, for the message: the path's pattern, and the values in backticks."""

_WORDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false",
          "array": "a list", "object": "an object", "null": "null"}  # fmt: skip
_DATA_URL = re.compile(
    r"data:([\w.+-]+/[\w.+-]+)?(?:;charset=(?:utf-8|us-ascii))?(;base64)?,", re.IGNORECASE
)
"""No parameter but the usual charset: nobody would look at what else stands there."""


def explain_invalid(error: msgspec.ValidationError, allowed_at: Allowed) -> WireError:
    """msgspec's words as ours: what was expected, where."""
    message, _, where = str(error).partition(" - at `$")
    param = where.rstrip("`").lstrip(".") or None
    if match := re.fullmatch(r"Object missing required field `(\w+)`", message):
        param = f"{param}.{match[1]}" if param else match[1]
        return invalid_request(
            f"`{param}` is missing", param=param, code="missing_required_parameter"
        )
    if match := re.fullmatch(r"Expected `(.+)`, got `(\w+)`", message):
        expected = " or ".join(_WORDS.get(word.strip(), word) for word in match[1].split(" | "))
        # A whole number beyond 64 bits is a float to one of msgspec's readers and an int to the other.
        got = "a number" if match[2] in ("int", "float") else _WORDS.get(match[2], match[2])
        return invalid_request(
            f"`{param or 'the body'}` must be {expected}, not {got}",
            param=param,
            code="invalid_type",
        )
    if match := re.fullmatch(r"Invalid (?:enum )?value '?(.*?)'?", message, re.DOTALL):
        said = f"`{' '.join(match[1].split())[:100]}` is no value for `{param}`"
        allowed = next((one for at, one in allowed_at if at.fullmatch(param or "")), None)
        if allowed is not None:
            said += f"; it is one of {allowed}"
        return invalid_request(said, param=param, code="invalid_value")
    return invalid_request(f"{message[:1].lower()}{message[1:]}", param=param)


def too_many(name: str, count: int) -> WireError:
    """The error for a list that is too long."""
    message = f"`{name}` may hold at most {count} entries"
    return invalid_request(message, param=name, code="array_above_max_length")


def check_range(name: str, value: float | None, low: int, high: int) -> None:
    """Raises ``WireError`` for a number outside; None is within."""
    if value is None or low <= value <= high:
        return
    kind = "integer" if isinstance(value, int) else "decimal"
    side = "below_min" if value < low else "above_max"
    raise invalid_request(
        f"`{name}` must lie between {low} and {high}", param=name, code=f"{kind}_{side}_value"
    )


def parse_data_url(url: str, path: str) -> tuple[str, str]:
    """Media type and base64 text of a ``data:`` URL. Raises ``WireError``."""
    match = _DATA_URL.match(url)
    if match is None or match[2] is None:
        message = "a `data:` URL is a type, base64 and nothing else: `data:image/png;base64,…`"
        raise invalid_request(message, param=path, code="invalid_image")
    data = url[match.end() :]
    check_base64(data, path)
    return (match[1] or "application/octet-stream").lower(), data


def check_base64(data: str, path: str) -> None:
    """Raises ``WireError`` for what is not base64, or empty."""
    try:
        is_empty = not binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_request(
            f"`{path}` is not base64", param=path, code="invalid_base64"
        ) from error
    if is_empty:
        raise invalid_request(f"`{path}` holds no data", param=path, code="invalid_base64")
