"""Prove a policy before it goes live: with Z3, or by the certificate that a shipped one carries.

Promises: Z3 is loaded only where something has to be proved (0.3 s, 60 MB), never for a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec

from policies.certificate import Certificate, parse_certificate
from policies.classify import RULES
from policies.document import PolicyDocument
from policies.facts import TargetFacts

if TYPE_CHECKING:
    from policies.proofs.verify import Proof

SECONDS_MAX = 20.0
"""For one look of Z3; the shipped policies take a tenth of a second for all of them."""


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

    prover = Prover(document, targets, [rule.kind for rule in RULES], seconds_max=SECONDS_MAX)
    proofs = prover.prove()
    findings = tuple(analyse(prover)) if analyses else ()
    return Proving(certify(document, targets, proofs), proofs, findings)


def find_shipped_certificate(
    document: PolicyDocument, targets: Sequence[TargetFacts]
) -> Certificate | None:
    """The certificate that came with this release, if ``document`` is one of its policies and it holds for
    ``targets``."""
    entry = files("policies") / "defaults" / f"{document.name}.proof.json"
    if not entry.is_file():
        return None
    found = parse_certificate(entry.read_bytes())
    return found if found.is_valid_for(document.digest, targets) else None
