"""Text as it is meant to be read: what a detector sees of full-width digits, invisible characters, dashes.

First :func:`uncover` a text as a whole, for there may be any number of invisible characters within a value;
then :func:`fold` it piece by piece, for a folded piece may be eleven times as long. Pure. Costs one linear look
each where there is nothing to do; else only the places that need it are rewritten.
"""

import re
import unicodedata
from itertools import islice

import re2

# Characters that show as nothing and would hide a pattern: Unicode 16's Default_Ignorable_Code_Point (zero-width,
# joiners, soft hyphen, fillers, variation selectors, tags), marks of annotations and of hieroglyphs' places, the empty
# Braille cell, the controls of ISO 6429.
_INVISIBLE = (
    "\u0080-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
# ASCII's own but for what ends a line or leaves a gap, which is seen: tab, LF, VT, FF, CR.
_CONTROLS = bytes({*range(32), 127} - {*b"\t\n\v\f\r"})
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


_HIDES = re2.compile(f"[{_as_re2(_INVISIBLE)}]")
_NEEDS_FOLDING = re2.compile(rf"[{_as_re2(_DASHES)}{_COMPATIBLE}]|[^\P{{Nd}}0-9]")


BYTES_A_PLACE = 256
"""One place costs as much as so many bytes of the whole at once, which is cheaper where there are many."""


def uncover(raw: bytes) -> bytes:
    """``raw`` (UTF-8) without invisible characters."""
    raw = raw.translate(None, _CONTROLS)
    if raw.isascii() or _HIDES.search(raw.translate(None, _ASCII)) is None:
        return raw
    return _FIND_INVISIBLE.sub("", raw.decode("utf-8", "replace")).encode()


def fold(raw: bytes) -> bytes:
    """``raw`` (UTF-8, uncovered) with compatibility forms and other scripts' digits made plain, dashes made one;
    ``raw`` itself where there is nothing to fold."""
    if _NEEDS_FOLDING.search(raw.translate(None, _ASCII)) is None:
        return raw
    few = len(raw) // BYTES_A_PLACE
    places = list(islice(_NEEDS_FOLDING.finditer(raw), few + 1))
    if len(places) > few:
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
    folded = unicodedata.normalize("NFKC", _FIND_DASHES.sub("-", text))
    digits = set(_FIND_DIGITS.findall(folded))
    if not digits:
        return folded
    return folded.translate({ord(digit): str(unicodedata.digit(digit, 0)) for digit in digits})
