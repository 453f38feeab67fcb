"""Where a part of a text stands in the YAML that the text was written in.

YAML folds lines, doubles quotes and knows escapes; what it never does is to reorder what is no white space. So
the place is found by counting: as many such characters as stand in front of it in the text are passed in the YAML.
"""

import re

import yaml

from policies.cel import Place

_ESCAPE = re.compile(r"\\(?:x(..)|u(.{4})|U(.{8})|(.))", re.DOTALL)
_BLANK_ESCAPES = frozenset("ntabefrv0N_LP \t\n\r")
"""Escapes that stand for white space or controls; no expression that parses has controls in it."""


def find_within(source: str, scalar: yaml.ScalarNode, within: Place) -> Place:
    """The place in ``source`` of what stands at ``within`` in the text of ``scalar``."""
    lines = str(scalar.value).split("\n")
    before = "".join((*lines[: within.line - 1], lines[within.line - 1][: within.column - 1]))
    wanted = sum(not character.isspace() for character in before)
    start, end = scalar.start_mark, scalar.end_mark
    raw = source[start.index : end.index]
    at = _first_character(raw, str(scalar.style or ""))
    for position, is_blank in _characters(raw, at, str(scalar.style or "")):
        if is_blank:
            continue
        if wanted == 0:
            at = position
            break
        wanted -= 1
        at = position + 1
    line = raw.count("\n", 0, at)
    column = at - (raw.rfind("\n", 0, at) + 1)
    return Place(start.line + line + 1, column + 1 + (start.column if line == 0 else 0))


def _first_character(raw: str, style: str) -> int:
    """Behind the quote, or behind the line that begins a block."""
    if style in ("|", ">"):
        return raw.find("\n") + 1
    return 1 if style else 0


def _characters(raw: str, at: int, style: str) -> list[tuple[int, bool]]:
    """Each character that is written in ``raw`` from ``at`` on: its place, and whether it is white space."""
    found: list[tuple[int, bool]] = []
    while at < len(raw):
        escape = _ESCAPE.match(raw, at) if style == '"' else None
        if escape is not None:
            found.append((at, (escape[4] or "") in _BLANK_ESCAPES and escape[4] is not None))
            at = escape.end()
        elif style == "'" and raw.startswith("''", at):
            found.append((at, False))
            at += 2
        else:
            found.append((at, raw[at].isspace()))
            at += 1
    return found
