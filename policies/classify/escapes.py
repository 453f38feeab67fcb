"""What a text says once the escapes of JSON in it are undone, wherever it stands.

Tool results and pasted text hold JSON, arguments hold JSON within JSON: a line break in it is a backslash and an
``n``, which would touch the value behind it. Pure, linear, in C.
"""

import json
import re
from collections.abc import Iterator

LEVELS_MAX = 3
"""How often escapes are undone: JSON in JSON in JSON."""

_PAIR = "\0"
"""Stands for an escaped backslash while the others are looked at. Who writes it gets the next control, which
is taken out with the others."""
_NO_ESCAPE = re.compile(r'\\(?!["bfnrt]|u[0-9A-Fa-f]{4})')


def unescape(text: str) -> str:
    """``text`` with JSON string escapes replaced by what they stand for, be it JSON or not; never raises."""
    body = text.replace(_PAIR, "").replace("\\\\", _PAIR).replace("\\u0000", "\\u0001")
    body = _NO_ESCAPE.sub("", body).replace('\\"', '"').replace('"', '\\"')
    said: str = json.loads(f'"{body}"', strict=False)
    return said.replace(_PAIR, "\\")


def unescaped(text: str) -> Iterator[str]:
    """``text`` with its escapes undone, then with the ones that this uncovered, while there are any.

    Each is shorter than the one before.
    """
    for _ in range(LEVELS_MAX):
        if "\\" not in text:
            return
        text = unescape(text)
        yield text
