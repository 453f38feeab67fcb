"""Prove a policy before it goes live, and again where the catalogue changes: with Z3, by the certificate that a
shipped one carries, or by what another process proved and wrote into SQL.

Promises: Z3 is loaded only where something has to be proved (0.3 s, 60 MB), never for a request; nothing is proved
twice by one process, nor by two if SQL is there.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.policy_store import Proved, read_proofs, write_proofs
from policies.certificate import Certificate, digest_targets, parse_certificate
from policies.classify import RULES
from policies.compile import compile_policy
from policies.decide import decide
from policies.document import PolicyDocument
from policies.facts import Quote, TargetFacts
from policies.inherit import Levels

if TYPE_CHECKING:
    from policies.proofs.verify import Proof

LOOK_SECONDS_MAX = 20.0
"""For one look of Z3; the shipped policies take a tenth of a second for all of them."""
SECONDS_MAX = 120.0
"""For all claims of a document; 200 rules over 50 targets take 3 s."""
FAILED_MAX = 1000
"""Tries that came to nothing that are remembered."""
SHOWN_MAX = 4
"""Lines about numbers and constraints below a counterexample."""


@dataclass(frozen=True, slots=True)
class Proving:
    """What became of the claims of a document, and what its author may want to know of its rules."""

    certificate: Certificate
    proofs: "tuple[Proof, ...]"
    findings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For people: each claim with its verdict, a counterexample below it."""
        lines: list[str] = []
        for proof in self.proofs:
            scope = f" ({proof.scope})" if proof.verdict == "proved" else ""
            lines.append(f"{proof.verdict}: {proof.claim}{scope}")
            if proof.reason:
                lines.append(f"    {proof.reason}")
            lines += [f"    {line}" for line in proof.lines]
        return lines + [f"note: {finding}" for finding in self.findings]

    def gaps(self) -> list[str]:
        """For people, what is not proved: each such claim with its verdict, and a counterexample."""
        lines: list[str] = []
        for proof in self.proofs:
            if proof.verdict != "proved":
                lines.append(f"{proof.verdict}: {proof.claim}")
                lines += [f"    {line}" for line in (proof.reason, *proof.lines) if line]
        return lines

    def to_json(self) -> dict[str, object]:
        """For programs: the certificate, the proofs with their witnesses, the findings."""
        return {
            "proved": self.certificate.is_proof,
            "certificate": msgspec.to_builtins(self.certificate),
            "proofs": msgspec.to_builtins(self.proofs),
            "findings": list(self.findings),
        }


def prove(
    document: PolicyDocument, targets: Sequence[TargetFacts], *, analyses: bool = False
) -> Proving:
    """Prove every claim of ``document`` over ``targets``; look for rules without effect too, if it ``analyses``.

    Takes from a tenth of a second to some seconds (200 rules, 50 targets: 3 s, and 9 s to analyse).
    """
    from policies.proofs.analysis import analyse  # noqa: PLC0415  # see above: it brings Z3
    from policies.proofs.verify import Prover, certify  # noqa: PLC0415  # likewise

    until = time.monotonic() + SECONDS_MAX
    prover = Prover(
        document,
        targets,
        [rule.kind for rule in RULES],
        look_seconds_max=LOOK_SECONDS_MAX,
        seconds_left=lambda: until - time.monotonic(),
    )
    proofs = tuple(_with_numbers(document, proof) for proof in prover.prove())
    findings = tuple(analyse(prover)) if analyses else ()
    return Proving(certify(document, targets, proofs), proofs, findings)


def _with_numbers(document: PolicyDocument, proof: "Proof") -> "Proof":
    """``proof`` with what its counterexample turns on besides the request: the numbers that the claim names, of the
    target that was kept, or who struck those that were not."""
    witness = proof.witness
    if witness is None or proof.kind == "monotone":
        return proof
    if proof.kind == "never":
        (quote,) = witness.quotes.values()
        names = re.findall(r"[a-z_.]+", proof.claim.replace("_request_cost", "_cost"))  # per call
        more = [f"{name}: {_shown(read(quote))}" for name, read in NUMBERS.items() if name in names]
    else:
        policy = compile_policy(document, witness.targets)
        struck = decide(policy, witness.facts, None, witness.quotes).struck
        more = list(dict.fromkeys(f"struck by: {one.constraint or one.reason}" for one in struck))
    return msgspec.structs.replace(proof, lines=(*proof.lines, *more[:SHOWN_MAX]))


NUMBERS: Mapping[str, Callable[[Quote], float | None]] = {
    "expected_cost_usd": lambda quote: _usd(quote.expected_cost_nanousd),
    "worst_case_cost_usd": lambda quote: _usd(quote.worst_case_nanousd),
    "expected_ttft_s": lambda quote: quote.expected_ttft_seconds,
    "quality": lambda quote: quote.quality,
    "cached_tokens": lambda quote: quote.cached_tokens,
}
"""What a claim may name of a call, and where it stands."""


def _usd(nanousd: int | None) -> float | None:
    return None if nanousd is None else nanousd / 10**9


def _shown(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.15g}"


def find_shipped_certificate(document: PolicyDocument, catalogue: str) -> Certificate | None:
    """The certificate that came with this release, if ``document`` is one of its policies and it holds for the
    targets of this digest."""
    entry = files("policies") / "defaults" / f"{document.name}.proof.json"
    if "/" in document.name or not entry.is_file():
        return None
    found = parse_certificate(entry.read_bytes())
    return found if found.is_valid_for(document.digest, catalogue) else None


@dataclass(frozen=True, slots=True)
class Certified:
    """By the digest of the document: everything that was proved of it (``certificates``, the oldest first), and the
    last try where the catalogue at hand is not among it (``failed``)."""

    certificates: dict[str, list[Certificate]] = field(default_factory=dict[str, list[Certificate]])
    failed: dict[str, Proving] = field(default_factory=dict[str, Proving])

    def to_proved(self) -> Proved:
        """What a change of policies wants to know."""
        found = [one for kept in self.certificates.values() for one in kept]
        return Proved(found, {digest: one.gaps() for digest, one in self.failed.items()})


Gaps = Mapping[tuple[int, ...], tuple[PolicyDocument, Proving]]
"""What is not proved of levels, by chain of versions."""


class Certifier:
    """Proofs for one process. One proof runs at a time, in a thread: Z3 takes no more, and answers are under way."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._one_at_a_time = asyncio.Lock()
        self._known: dict[str, list[Certificate]] = {}
        self._failed: dict[tuple[str, str], Proving] = {}

    async def certify(
        self, documents: Sequence[PolicyDocument], targets: Sequence[TargetFacts]
    ) -> Certified:
        """Proofs of each of ``documents`` over ``targets``, wherever there is one. Without SQL it makes them all
        itself, and keeps them."""
        catalogue = digest_targets(targets)
        await self._read(documents)
        found = Certified()
        for document in documents:
            digest = document.digest
            if not self._is_proved(document, catalogue):
                async with self._one_at_a_time:
                    failed = await self._try(document, targets, catalogue)
                if failed is not None:
                    found.failed[digest] = failed
            found.certificates[digest] = list(self._known.get(digest, ()))
        return found

    async def _try(
        self, document: PolicyDocument, targets: Sequence[TargetFacts], catalogue: str
    ) -> Proving | None:
        """What is not proved; None: all is. Who waited for this may find that another has done it meanwhile."""
        if self._is_proved(document, catalogue):
            return None
        proving = self._failed.get((document.digest, catalogue))
        if proving is None:
            proving = await asyncio.to_thread(prove, document, targets)
            await self._keep(proving, catalogue)
        return None if proving.certificate.is_proof else proving

    async def analyse(self, document: PolicyDocument, targets: Sequence[TargetFacts]) -> Proving:
        """Prove ``document``, and look for rules without effect; nothing is kept."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(prove, document, targets, analyses=True)

    def _is_proved(self, document: PolicyDocument, catalogue: str) -> bool:
        known = self._known.get(document.digest, ())
        if any(one.is_valid_for(document.digest, catalogue) for one in known):
            return True
        shipped = find_shipped_certificate(document, catalogue)
        if shipped is not None:
            self._add(shipped)
        return shipped is not None

    async def certify_levels(
        self, levels: Levels, targets: Sequence[TargetFacts]
    ) -> tuple[Levels, Gaps]:
        """``levels`` with what is proved of them, and what is not of those that should be. Raises ``PolicyError`` for
        levels that do not go together."""
        # In a thread: hundreds of overlays take a second to put together, which answers under way would wait.
        wanted = await asyncio.to_thread(levels.to_prove)
        found = await self.certify(list(wanted.values()), targets)
        gaps = {
            chain: (document, found.failed[document.digest])
            for chain, document in wanted.items()
            if document.digest in found.failed
        }
        return replace(levels, certificates=found.certificates), gaps

    async def _read(self, documents: Sequence[PolicyDocument]) -> None:
        try:
            stored = await read_proofs(self._engine, [one.digest for one in documents])
        except (SQLAlchemyError, OSError):
            return  # what is not known is proved here
        for certificates in stored.values():
            for one in certificates:
                self._add(one)

    async def _keep(self, proving: Proving, catalogue: str) -> None:
        certificate = proving.certificate
        self._add(certificate)
        if not certificate.is_proof:
            if any(one.verdict == "timeout" for one in proving.proofs):
                return  # another try may have more luck
            if len(self._failed) >= FAILED_MAX:
                self._failed.clear()
            self._failed[certificate.policy, catalogue] = proving
            return
        try:
            async with self._engine.begin() as connection:
                await write_proofs(connection, [certificate], time.time())
        except (SQLAlchemyError, OSError):
            pass  # another was faster, or SQL is away: then others prove it for themselves

    def _add(self, certificate: Certificate) -> None:
        kept = self._known.setdefault(certificate.policy, [])
        if certificate not in kept:
            kept.append(certificate)
