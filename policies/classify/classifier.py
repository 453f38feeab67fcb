"""The scan: every rule at once over each text, then a closer look at what was hit.

Promises: linear in the text (RE2), bounded memo, no I/O; a text that was scanned before is looked up, so a
long conversation costs its newest message; a detector that breaks makes its types unknown and never
disappears in silence.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import re2

from policies.classify.credentials import CREDENTIALS
from policies.classify.escapes import unescaped
from policies.classify.folding import fold, uncover
from policies.classify.personal import PERSONAL
from policies.classify.rules import Rule
from policies.classify.versions import digest_rules, digest_types, name_version
from policies.facts import Detection, Segment

RULES: tuple[Rule, ...] = (*PERSONAL, *CREDENTIALS)

MEMO_LENGTH_MIN = 64
"""Characters; shorter texts are scanned anew, for the look-up would cost as much."""
MEMO_ENTRIES_MAX = 4096
CANDIDATE_WORK = 10
"""What a closer look at a candidate costs beside its bytes, in the same unit: about half a microsecond."""
DEAR_WORK = 300
"""What a dear check costs on top: telephone numbers are tried with the plans of up to 17 countries, 30 to 270
microseconds (phonenumbers 9, one core of 2025)."""
FOLDED_BYTES = 16
"""So many bytes of folded text, or of invisible characters, cost one unit."""
TEXT_WORK_MAX = 250_000
"""For one text, in all its readings. Where it is spent, the types of what is left to look at are unknown."""
SCAN_WORK_MAX = 1_000_000
"""For all texts of one scan that were not seen before: half a second, whatever a request holds."""
PIECE_BYTES = 16 * 1024
OVERLAP_BYTES = 1024
"""No rule needs more than this to recognise what it looks for."""
AUTOMATON_BYTES_MAX = 8 << 20
"""What the shared automaton may grow to in memory: all rules compile within a quarter of it."""

_UUID = re.compile(
    rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[1-8][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}"
    rb"(?![0-9A-Za-z])"
)
"""RFC 9562. Agents send a dozen with each request, and one in some thousand looks like a telephone, a card or an id
somewhere within."""
_UUID_BYTES = 36
_PERSONAL = "pii."

# Matches every text. RE2's set says nothing found where it ran out of memory, too; this tells them apart.
_ALWAYS = r"\A"


class _Hits:
    """The types found in one text and the types whose detectors broke on it."""

    __slots__ = ("fault", "found", "unknown", "work")

    def __init__(
        self, found: frozenset[str], unknown: frozenset[str], work: int = 0, fault: str = ""
    ) -> None:
        self.found = found
        self.unknown = unknown
        self.work = work
        self.fault = fault
        """What broke first; it may be whole at the next look."""


_NOTHING = _Hits(frozenset(), frozenset())


class _Look:
    """A look at one text: what it brought to light, and what it may still cost."""

    __slots__ = ("fault", "found", "left", "unknown")

    def __init__(self) -> None:
        self.fault = ""
        self.found: set[str] = set()
        self.unknown: set[str] = set()
        self.left = TEXT_WORK_MAX


class Classifier:
    """Holds the compiled rules and the memo."""

    def __init__(
        self, rules: Sequence[Rule] = RULES, *, automaton_bytes_max: int = AUTOMATON_BYTES_MAX
    ) -> None:
        self._rules = tuple(rules)
        options = re2.Options()
        options.max_mem = automaton_bytes_max
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for rule in self._rules:
            self._set.Add(rule.pattern)
        self._set.Add(_ALWAYS)
        self._set.Compile()
        self._patterns = [re2.compile(rule.find or rule.pattern) for rule in self._rules]
        self._memo: OrderedDict[bytes, _Hits] = OrderedDict()
        self.types = frozenset(rule.kind for rule in self._rules)
        """Every type that a rule can find."""
        self._unseen = _Hits(frozenset(), self.types)
        self.digests = digest_types(self._rules)
        """Of each type, how it is looked for."""
        self.version = name_version(digest_rules(self.digests))
        """Changes with the rules, the code of their checks, and what every text goes through."""

    def scan(self, segments: Sequence[Segment]) -> Detection:
        """What all ``segments`` together hold."""
        found: frozenset[str] = frozenset()
        unknown: frozenset[str] = frozenset()
        left, fault = SCAN_WORK_MAX, ""
        for segment in segments:
            hits = self._look_up(segment.text, may_scan=left > 0)
            if hits is not _NOTHING:
                found |= hits.found
                unknown |= hits.unknown
                left -= hits.work
                fault = fault or hits.fault
        return Detection(found, unknown - found, frozenset(), self.version, fault)

    def _look_up(self, text: str, *, may_scan: bool) -> _Hits:
        raw = text.encode("utf-8", "replace")
        if len(text) < MEMO_LENGTH_MIN:
            return self._scan(text, raw) if may_scan else self._unseen
        digest = hashlib.sha256(raw).digest()
        hits = self._memo.get(digest)
        if hits is not None:
            self._memo.move_to_end(digest)
            return hits
        if not may_scan:
            return self._unseen
        hits = self._scan(text, raw)
        if hits.fault:
            return hits
        # Its work is done once: who finds it in the memo pays nothing.
        self._memo[digest] = _Hits(hits.found, hits.unknown) if hits.work else hits
        if len(self._memo) > MEMO_ENTRIES_MAX:
            self._memo.popitem(last=False)
        return hits

    def _scan(self, text: str, raw: bytes) -> _Hits:
        look = _Look()
        try:
            self._scan_reading(raw, look)
            readings = unescaped(text)
            while look.left > 0 and (reading := next(readings, None)) is not None:
                self._scan_reading(reading.encode("utf-8", "replace"), look)
            if look.left <= 0 and "\\" in text:
                look.unknown |= self.types
        except Exception as error:  # fail closed: whatever broke, nobody has looked at this text
            work = TEXT_WORK_MAX - look.left
            fault = look.fault or f"scan: {type(error).__name__}"
            return _Hits(frozenset(look.found), self.types, work, fault)
        if look.left == TEXT_WORK_MAX and not look.found and not look.unknown:
            return _NOTHING
        work = TEXT_WORK_MAX - look.left
        return _Hits(frozenset(look.found), frozenset(look.unknown), work, look.fault)

    def _scan_reading(self, raw: bytes, look: _Look) -> None:
        plain = uncover(raw)
        look.left -= (len(raw) - len(plain)) // FOLDED_BYTES
        for piece in _pieces(plain):
            if piece.isascii():
                self._scan_piece(piece, look)
                continue
            if look.left <= 0:
                look.unknown |= self.types
                return
            folded = fold(piece)
            if folded is not piece:
                look.left -= len(folded) // FOLDED_BYTES
            self._scan_piece(folded, look)

    def _scan_piece(self, piece: bytes, look: _Look) -> None:
        matched = self._set.Match(piece)
        everything = len(self._rules)
        if not matched or everything not in matched:
            look.unknown |= self.types
            look.fault = look.fault or "scan: out of memory"
            return
        if len(matched) == 1:
            return
        for at in matched:
            if at == everything or self._rules[at].kind in look.found:
                continue
            try:
                is_hit = self._confirm(at, self._rules[at], piece, look)
            except Exception as error:  # fail closed: this detector's types are unknown
                is_hit = None
                look.fault = look.fault or f"{self._rules[at].kind}: {type(error).__name__}"
            if is_hit:
                look.found.add(self._rules[at].kind)
            elif is_hit is None:
                look.unknown.add(self._rules[at].kind)

    def _confirm(self, at: int, rule: Rule, text: bytes, look: _Look) -> bool | None:
        """Whether a candidate passes; None if there are too many to look at."""
        if rule.check is None:
            return True
        if look.left <= 0:
            return None
        pattern = self._patterns[at]
        has_group = pattern.groups > 0
        for match in pattern.finditer(text):
            whole = _read(text, match.span(0))
            look.left -= CANDIDATE_WORK + len(whole)
            if look.left <= 0:
                return None
            value = _read(text, match.span(pattern.groups)) if has_group else whole
            if not rule.check(whole, value):
                continue
            if rule.kind.startswith(_PERSONAL) and _is_of_uuid(text, match.span(pattern.groups)):
                look.left -= CANDIDATE_WORK
                continue
            if rule.dear is None:
                return True
            look.left -= DEAR_WORK
            if look.left <= 0:
                return None
            if rule.dear(whole, value):
                return True
        return False


def _read(text: bytes, span: tuple[int, int]) -> str:
    return text[span[0] : span[1]].decode("utf-8", "replace")


def _is_of_uuid(text: bytes, span: tuple[int, int]) -> bool:
    """Whether what stands there is a piece of a UUID. One of digits alone is none: it may be anything else."""
    start, end = span
    if end - start > _UUID_BYTES:
        return False
    for found in _UUID.finditer(text, max(0, end - _UUID_BYTES), start + _UUID_BYTES + 1):
        if found.start() <= start and end <= found.end():
            return not found[0].replace(b"-", b"").isdigit()
    return False


def _pieces(text: bytes) -> Iterator[bytes]:
    """``text`` in pieces that overlap by what a match may span: a closer look then costs one piece."""
    if len(text) <= PIECE_BYTES:
        yield text
        return
    for start in range(0, len(text) - OVERLAP_BYTES, PIECE_BYTES - OVERLAP_BYTES):
        yield text[start : start + PIECE_BYTES]
