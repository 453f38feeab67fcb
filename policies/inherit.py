"""Levels of policies: a base, and overlays of organisations, teams and keys over it, as one document.

Promises: an overlay can only tighten, so that what the whole keeps, the base alone keeps too; a key always falls
to the same side of a canary. What does not fit together is a ``PolicyError`` that says so.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product

import msgspec

from policies.cel import Tree
from policies.cel.schema import names_of
from policies.certificate import Certificate
from policies.document import PolicyDocument, PolicyError
from policies.members import AttemptsData, CacheData, DocumentData, Unscannable

OVERLAY_NAME_MAX = 24
"""Letters of an overlay's name: four levels with their digests fit into the column that records them."""
DIGEST_SHOWN = 12
STRICTNESS: tuple[Unscannable, ...] = ("any", "self_hosted", "refuse")
COUNTS_ATTEMPTS = "worst_case_request_cost_usd"


@dataclass(frozen=True, slots=True)
class Canary:
    """A document that ``share`` of the keys try, before the others do."""

    version: int
    document: PolicyDocument
    share: float

    def takes(self, key_id: str) -> bool:
        """Whether the key tries it: always the same for one version."""
        drawn = hashlib.sha256(f"{self.version}:{key_id}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") < self.share * 2**64


@dataclass(frozen=True, slots=True)
class Level:
    """What is in force in one scope. ``version`` None: a canary alone, over nothing."""

    version: int | None
    document: PolicyDocument | None
    canary: Canary | None = None

    def pick(self, key_id: str) -> tuple[int, ...]:
        """The version that counts for a key, if any does."""
        if self.canary is not None and self.canary.takes(key_id):
            return (self.canary.version,)
        return () if self.version is None else (self.version,)

    def arms(self) -> tuple[tuple[int, ...], ...]:
        """What ``pick`` may answer."""
        stable = () if self.version is None else (self.version,)
        return (stable,) if self.canary is None else (stable, (self.canary.version,))

    def documents(self) -> Iterator[tuple[int, PolicyDocument]]:
        """Its documents, by version."""
        if self.version is not None and self.document is not None:
            yield self.version, self.document
        if self.canary is not None:
            yield self.canary.version, self.canary.document


@dataclass(frozen=True, slots=True)
class Levels:
    """Everything that is in force: ``base`` for everybody, ``over`` it the overlays by scope (``team:ID``).

    ``parents`` has the scope around each scope, where that matters: a key's team, a team's organisation. Chains of
    versions, from the base down, are what a key is decided by; ``unproven`` are those versions that somebody put in
    force without a proof. ``certificates``: by digest, what was proved of each document; None where nobody asks (a
    dry run).
    """

    base: Level
    over: Mapping[str, Level] = field(default_factory=dict[str, Level])
    parents: Mapping[str, str] = field(default_factory=dict[str, str])
    unproven: frozenset[int] = frozenset()
    certificates: Mapping[str, Sequence[Certificate]] | None = None

    @property
    def is_plain(self) -> bool:
        """One document for everybody."""
        return not self.over and self.base.canary is None

    def chain(self, key_id: str, scopes: Sequence[str]) -> tuple[int, ...]:
        """The versions that count for a key, whose ``scopes`` are given from the widest to its own."""
        levels = (self.base, *(self.over[scope] for scope in scopes if scope in self.over))
        return tuple(at for level in levels for at in level.pick(key_id))

    def merged(self) -> dict[tuple[int, ...], PolicyDocument]:
        """Every chain that a key may have, as one document. Raises :class:`PolicyError`."""
        known = dict(self.base.documents())
        chains: dict[tuple[int, ...], None] = {}
        for way in ((self.base,), *(self._way_to(scope) for scope in self.over)):
            for level in way:
                known.update(level.documents())
            for arms in product(*(level.arms() for level in way)):
                chains[tuple(at for arm in arms for at in arm)] = None
        return {chain: inherit(*(known[at] for at in chain)) for chain in chains}

    def _way_to(self, scope: str) -> tuple[Level, ...]:
        """The levels from the base down to ``scope``."""
        way: list[Level] = []
        around: str | None = scope
        while around is not None:
            if around in self.over:
                way.append(self.over[around])
            around = self.parents.get(around)
        return (self.base, *reversed(way))

    def to_prove(self) -> dict[tuple[int, ...], PolicyDocument]:
        """Of ``merged``, what somebody wants proved: all but what is in force without. Raises the same."""
        return {
            chain: document
            for chain, document in self.merged().items()
            if not self.unproven & set(chain)
        }


def inherit(base: PolicyDocument, *overlays: PolicyDocument) -> PolicyDocument:
    """``base`` tightened by each of ``overlays`` in turn, as one document; examples are each document's own.

    Its name is such that, with the last one's digest behind it, it names every part. Raises
    :class:`PolicyError` for an overlay that does not fit, naming what stands in the way.
    """
    return reduce(_tighten, overlays, base)


def label_version(document: PolicyDocument) -> str:
    """What stands behind the document's name in its label: the digest of the last part."""
    return document.digest.rpartition("+")[2][:DIGEST_SHOWN]


def _tighten(base: PolicyDocument, overlay: PolicyDocument) -> PolicyDocument:
    _check_fits(base, overlay)
    upper, lower = base.data, _with_members_above(base.data, overlay)
    ranks, bursts = overlay if lower.objective else base, overlay if lower.attempts.burst else base
    named = tuple(
        msgspec.structs.replace(
            one, name=f"{overlay.name}/{one.name}", reason=one.reason or one.name
        )
        for one in lower.constraints
    )
    data = DocumentData(
        policy=f"{base.name}@{label_version(base)}+{overlay.name}",
        description=lower.description or upper.description,
        labels=upper.labels | lower.labels,
        constraints=upper.constraints + named,
        objective=ranks.data.objective,
        attempts=AttemptsData(
            max=min(upper.attempts.max, lower.attempts.max),
            fallback=tuple(w for w in upper.attempts.fallback if w in lower.attempts.fallback),
            burst=bursts.data.attempts.burst,
        ),
        cache=CacheData(sampled=upper.cache.sampled and lower.cache.sampled),
        unscannable=max((upper.unscannable, lower.unscannable), key=STRICTNESS.index),
        invariants=upper.invariants + lower.invariants,
    )
    trees = {
        **_part(base, "labels."),
        **_part(overlay, "labels."),
        **_part(base, "constraints["),
        **_part(overlay, "constraints[", len(upper.constraints)),
        **_part(ranks, "objective["),
        **_part(bursts, "attempts.burst."),
        **_part(base, "invariants["),
        **_part(overlay, "invariants[", len(upper.invariants)),
    }
    order = tuple(dict.fromkeys((*base.label_order, *overlay.label_order)))
    digest = f"{base.digest}+{overlay.digest}"
    return PolicyDocument(data.policy, digest, overlay.source, data, trees, order)


def _with_members_above(upper: DocumentData, overlay: PolicyDocument) -> DocumentData:
    """The overlay's members, those that it does not write as they are above it."""
    said, written = overlay.data, overlay.written
    replace = msgspec.structs.replace
    if "attempts.max" not in written:
        said = replace(said, attempts=replace(said.attempts, max=upper.attempts.max))
    if "cache.sampled" not in written:
        said = replace(said, cache=upper.cache)
    if "unscannable" not in written:
        said = replace(said, unscannable=upper.unscannable)
    return said


def _part(document: PolicyDocument, prefix: str, behind: int = 0) -> dict[str, Tree]:
    """The trees under ``prefix``, their numbers raised by ``behind``."""
    moved: dict[str, Tree] = {}
    for path, tree in document.trees.items():
        if path.startswith(prefix):
            if behind:
                number, _, rest = path.removeprefix(prefix).partition("]")
                path = f"{prefix}{int(number) + behind}]{rest}"  # noqa: PLW2901  # the same, moved
            moved[path] = tree
    return moved


def _check_fits(base: PolicyDocument, overlay: PolicyDocument) -> None:
    def error(words: str) -> PolicyError:
        return PolicyError(words, source=overlay.source)

    if len(overlay.name) > OVERLAY_NAME_MAX:
        raise error(f"the name of an overlay has {OVERLAY_NAME_MAX} letters at most")
    for name, label in overlay.data.labels.items():
        if base.data.labels.get(name, label) != label:
            raise error(
                f"the label `{name}` is another one in `{base.name}`: an overlay may not redefine it; "
                "give it a name of its own, or the same definition"
            )
    taken = {one.name for one in base.data.constraints}
    for one in overlay.data.constraints:
        if (whole := f"{overlay.name}/{one.name}") in taken:
            raise error(f"`{base.name}` has a constraint `{whole}` already: rename the policy")
    counted = any(
        name.path == COUNTS_ATTEMPTS
        for path, tree in base.trees.items()
        if path.startswith("constraints[")
        for name in names_of(tree)
    )
    attempts_max = _with_members_above(base.data, overlay).attempts.max
    if counted and attempts_max < base.data.attempts.max:
        raise error(
            f"`attempts.max` has to be {base.data.attempts.max} here: a constraint of `{base.name}` counts "
            f"`{COUNTS_ATTEMPTS}`, which fewer attempts would loosen"
        )
