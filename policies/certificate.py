"""What was proved, of which text, over which catalogue, by which verifier: small enough to keep with a version.

Promises: a certificate is of exactly one document; it stands for another catalogue only as far as every claim was
proved for any; another release of what decides or proves makes it void.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

import msgspec

from policies.facts import TargetFacts

Verdict = Literal["proved", "refuted", "undecided", "timeout"]
Scope = Literal["any catalogue", "this catalogue"]
Kind = Literal["never", "always_some_target", "monotone"]


class Claim(msgspec.Struct, frozen=True):
    """One claim, and what became of it. ``kind``: what never happens; that some target is left; that more findings,
    a higher class and lost detectors add none, which is claimed of every policy."""

    claim: str
    kind: Kind
    verdict: Verdict
    scope: Scope
    reason: str = ""


class Certificate(msgspec.Struct, frozen=True):
    """``policy`` and ``catalogue`` are SHA-256 digests of the document and of the targets, ``verifier`` one of
    the code that decides and proves, with the version of Z3. ``targets`` are the digests of each target that was
    looked at, empty where that says nothing since what is claimed holds of any."""

    policy: str
    catalogue: str
    verifier: str
    claims: tuple[Claim, ...]
    targets: tuple[str, ...] = ()

    @property
    def is_proof(self) -> bool:
        """Whether every claim was proved."""
        return all(claim.verdict == "proved" for claim in self.claims)

    @property
    def scope(self) -> Scope:
        """What it stands for as a whole."""
        everywhere = all(claim.scope == "any catalogue" for claim in self.claims)
        return "any catalogue" if everywhere else "this catalogue"

    def is_valid_for(self, digest: str, catalogue: str) -> bool:
        """Whether it proves the document of this ``digest`` over a ``catalogue`` (its digest), in this release."""
        return (
            self.is_proof
            and self.policy == digest
            and self.verifier == digest_verifier()
            and (self.scope == "any catalogue" or self.catalogue == catalogue)
        )

    def covers(self, target: str) -> bool:
        """Whether a target (its digest) was proved by this release to be used as claimed, whatever others there are.

        That some target is always left is a claim about all of them together, and not looked at.
        """
        if self.verifier != digest_verifier():
            return False
        safe = [claim for claim in self.claims if claim.kind != "always_some_target"]
        return all(claim.verdict == "proved" for claim in safe) and (
            target in self.targets or all(claim.scope == "any catalogue" for claim in safe)
        )


def digest_target(target: TargetFacts) -> str:
    """SHA-256 over all that policies may know of a target."""
    return hashlib.sha256(msgspec.json.encode(target, order="deterministic")).hexdigest()


def digest_targets(targets: Sequence[TargetFacts]) -> str:
    """SHA-256 over all that policies may know of the targets, in any order."""
    rows = sorted(digest_target(target) for target in targets)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


SOURCES = (
    "cel",
    "classify",
    "proofs",
    "compile.py",
    "decide.py",
    "document.py",
    "facts.py",
    "inherit.py",
    "labels.py",
    "members.py",
    "numbers.py",
)
"""What the meaning of a document, and of a proof, depends on: a new detector can set one label without another, and
levels that are joined otherwise are another document under the same digest."""


@functools.cache
def digest_verifier() -> str:
    """SHA-256 over the code that decides and proves, and the version of Z3. Reads files, once."""
    digest = hashlib.sha256(version("z3-solver").encode())
    for name in SOURCES:
        for text in _texts(files("policies") / name):
            digest.update(text)
    return digest.hexdigest()


def _texts(entry: Traversable) -> Iterator[bytes]:
    if entry.is_file():
        yield entry.read_bytes()
        return
    for inner in sorted(entry.iterdir(), key=lambda one: one.name):
        if inner.name.endswith(".py"):
            yield inner.read_bytes()


def parse_certificate(text: str | bytes) -> Certificate:
    """A certificate as written; raises ``msgspec.DecodeError``."""
    return msgspec.json.decode(text, type=Certificate)
