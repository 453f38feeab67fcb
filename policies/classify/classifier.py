"""The scan: every rule at once over each text, then a closer look at what was hit.

Promises: linear in the text (RE2), bounded memo, no I/O; a text that was scanned before is looked up, so a
long conversation costs its newest message; a detector that breaks makes its types unknown and never
disappears in silence.
"""

import hashlib
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence

import re2

from policies.classify.rules import RULES, Rule
from policies.facts import Detection, Segment

MEMO_BYTES_MIN = 128
"""Shorter texts are scanned anew: the look-up would cost as much."""
MEMO_ENTRIES_MAX = 4096
CANDIDATES_MAX = 2000
"""Candidates of one rule in one text that are looked at; with more, the type is unknown."""

# Characters that show as nothing and would hide a pattern: zero-width, joiners, soft hyphen, marks of direction.
_INVISIBLE = dict.fromkeys(
    [
        0xAD,
        0x34F,
        0x61C,
        0x180E,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        0xFEFF,
    ]
)
_DASHES = dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212, 0xFE58, 0xFE63], "-")
_FOLD = _INVISIBLE | _DASHES


class _Hits:
    """The types found in one text and the types whose detectors broke on it."""

    __slots__ = ("found", "unknown")

    def __init__(self, found: frozenset[str], unknown: frozenset[str]) -> None:
        self.found = found
        self.unknown = unknown


_NOTHING = _Hits(frozenset(), frozenset())


class Classifier:
    """Holds the compiled rules and the memo."""

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self._rules = tuple(rules)
        options = re2.Options()
        options.max_mem = 64 << 20
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for rule in self._rules:
            self._set.Add(rule.pattern)
        self._set.Compile()
        self._patterns = [re2.compile(rule.pattern, options) for rule in self._rules]
        self._memo: OrderedDict[bytes, _Hits] = OrderedDict()
        self.types = frozenset(rule.kind for rule in self._rules)
        """Every type that a rule can find."""
        text = "\n".join(f"{rule.kind} {rule.pattern}" for rule in self._rules)
        self.version = hashlib.sha256(text.encode()).hexdigest()[:12]
        """Changes with the rules."""

    def scan(self, segments: Sequence[Segment]) -> Detection:
        """What all ``segments`` together hold."""
        found: frozenset[str] = frozenset()
        unknown: frozenset[str] = frozenset()
        for segment in segments:
            hits = self._look_up(segment.text)
            if hits is not _NOTHING:
                found |= hits.found
                unknown |= hits.unknown
        return Detection(found, unknown - found, frozenset(), self.version)

    def _look_up(self, text: str) -> _Hits:
        if len(text) < MEMO_BYTES_MIN:
            return self._scan(text)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        hits = self._memo.get(digest)
        if hits is None:
            hits = self._scan(text)
            self._memo[digest] = hits
            if len(self._memo) > MEMO_ENTRIES_MAX:
                self._memo.popitem(last=False)
        return hits

    def _scan(self, text: str) -> _Hits:
        try:
            folded = fold(text)
            raw = folded.encode("utf-8", "replace")
            matched = self._set.Match(raw)
        except Exception:  # fail closed: whatever broke, nobody has looked at this text
            return _Hits(frozenset(), self.types)
        if not matched:
            return _NOTHING
        found: set[str] = set()
        unknown: set[str] = set()
        for at in matched:
            rule = self._rules[at]
            if rule.kind in found:
                continue
            try:
                is_hit = self._confirm(at, rule, folded)
            except Exception:  # fail closed: this detector's types are unknown
                unknown.add(rule.kind)
                continue
            if is_hit:
                found.add(rule.kind)
            elif is_hit is None:
                unknown.add(rule.kind)
        return _Hits(frozenset(found), frozenset(unknown)) if found or unknown else _NOTHING

    def _confirm(self, at: int, rule: Rule, text: str) -> bool | None:
        """Whether a candidate passes; None if there are too many to look at."""
        if rule.check is None:
            return True
        for number, match in enumerate(self._patterns[at].finditer(text)):
            if number >= CANDIDATES_MAX:
                return None
            whole = str(match.group(0))
            value = match.group(1) if match.re.groups else None
            if rule.check(whole, whole if value is None else str(value)):
                return True
        return False


def fold(text: str) -> str:
    """``text`` as it is meant to be read: compatibility forms (full-width digits) made plain,
    invisible characters gone, dashes made one."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.translate(_FOLD))
