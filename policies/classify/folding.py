"""Text as it is meant to be read: what a detector sees of full-width digits, invisible characters, dashes.

Pure. Costs one linear look where there is nothing to fold; else only the places that need it are rewritten.
"""

import re
import unicodedata
from itertools import islice

import re2

# Characters that show as nothing and would hide a pattern: zero-width, joiners, soft hyphen, marks of direction.
_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
_DASHES = "\u2010-\u2015\u2212\ufe58\ufe63\uff0d"

_ASCII = bytes(range(128))
_FIND_INVISIBLE = re.compile(f"[{_INVISIBLE}]")
_FIND_DASHES = re.compile(f"[{_DASHES}]")
_FIND_DIGITS = re.compile(r"[^\D0-9]")

# Blocks where compatibility forms of ASCII characters stand (Unicode 16, NFKC), more or less: the look
# before the work. The ellipsis is left out, for no rule cares about it and every other text has one.
_COMPATIBLE = (
    r"\x{A0}\x{AA}\x{B2}\x{B3}\x{B9}\x{BA}\x{BC}-\x{BE}\x{132}-\x{149}\x{17F}\x{1C4}-\x{1F3}\x{2B0}-\x{2E3}\x{37A}-\x{385}\x{1D2C}-\x{1DBB}\x{1E9A}"
    r"\x{1FBD}-\x{200A}\x{2024}\x{2025}\x{2027}-\x{2029}\x{202F}\x{2033}-\x{205F}\x{2070}-\x{20A8}"
    r"\x{2100}-\x{2189}\x{2460}-\x{24EA}\x{2A74}-\x{2A76}\x{2C7C}\x{2C7D}\x{3000}\x{309B}\x{309C}"
    r"\x{3200}-\x{33FF}\x{A7F2}-\x{A7F4}\x{FB00}-\x{FB29}\x{FC5E}-\x{FC63}\x{FDFA}-\x{FE7E}"
    r"\x{FF01}-\x{FFE3}\x{107A5}\x{1D400}-\x{1D7FF}\x{1F100}-\x{1F190}\x{1FBF0}-\x{1FBF9}"
)


def _as_re2(characters: str) -> str:
    return "".join(char if char == "-" else rf"\x{{{ord(char):X}}}" for char in characters)


_NEEDS_FOLDING = re2.compile(
    rf"[{_as_re2(_INVISIBLE)}{_as_re2(_DASHES)}{_COMPATIBLE}]|[^\P{{Nd}}0-9]"
)


FEW = 64
"""Up to so many places are folded one by one; with more, the whole text at once is cheaper."""


def fold(raw: bytes) -> bytes:
    """``raw`` (UTF-8) with compatibility forms and other scripts' digits made plain, invisible characters
    gone, dashes made one."""
    if _NEEDS_FOLDING.search(raw.translate(None, _ASCII)) is None:
        return raw
    places = list(islice(_NEEDS_FOLDING.finditer(raw), FEW + 1))
    if len(places) > FEW:
        return fold_text(raw.decode("utf-8", "replace")).encode()
    pieces: list[bytes] = []
    done = 0
    for place in places:
        pieces.append(raw[done : place.start()])
        pieces.append(fold_text(raw[place.start() : place.end()].decode()).encode())
        done = place.end()
    pieces.append(raw[done:])
    return b"".join(pieces)


def fold_text(text: str) -> str:
    """The same for text."""
    folded = _FIND_DASHES.sub("-", _FIND_INVISIBLE.sub("", text))
    return _FIND_DIGITS.sub(
        lambda digit: str(unicodedata.digit(digit[0], 0)), unicodedata.normalize("NFKC", folded)
    )
