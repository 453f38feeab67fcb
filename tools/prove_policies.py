#!/usr/bin/env python3
"""Prove the shipped policies and write the certificates that they carry; ``--check`` only compares.

A certificate holds for any catalogue, and for the code that decides and proves as it stands: after a change of
that code this has to be run again.
"""

import argparse
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.proving import prove
from policies.check import STAND_INS
from policies.document import parse_policy

DEFAULTS = Path(__file__).resolve().parent.parent / "policies" / "defaults"


def main() -> int:
    """End with 1 if a claim does not hold, or with ``--check`` if a certificate is stale."""
    parser = argparse.ArgumentParser(description="Prove the shipped policies.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    is_check = parser.parse_args().check
    status = 0
    for path in sorted(DEFAULTS.glob("*.yaml")):
        document = parse_policy(path.read_text(encoding="utf-8"), source=path.name)
        proving = prove(document, STAND_INS)
        if not proving.certificate.is_proof:
            sys.stderr.write("\n".join([path.name, *proving.lines()]) + "\n")
            status = 1
        text = msgspec.json.format(msgspec.json.encode(proving.certificate), indent=1) + b"\n"
        certificate = path.with_name(f"{document.name}.proof.json")
        if certificate.is_file() and certificate.read_bytes() == text:
            continue
        if is_check:
            sys.stderr.write(f"{certificate.name} is stale: run `python tools/prove_policies.py`\n")
            status = 1
        else:
            certificate.write_bytes(text)
            sys.stdout.write(f"{certificate.name} written\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
