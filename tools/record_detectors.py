#!/usr/bin/env python3
"""Add the present rule set to those that were released; ``--check`` only looks whether it stands there.

A replay decides records of an older rule set only by what it looked for: rows are added, never changed.
"""

import argparse
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.classify import RULES
from policies.classify.versions import ROWS, Row, digest_rules, digest_types, read_rows

PATH = Path(__file__).resolve().parent.parent / "policies" / "classify" / ROWS


def main() -> int:
    """End with 1 if with ``--check`` the present rule set is missing."""
    parser = argparse.ArgumentParser(description="Record what the detectors look for.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    is_check = parser.parse_args().check
    types = digest_types(RULES)
    row = Row(digest_rules(types), dict(types))
    rows = read_rows()
    if row in rows:
        return 0
    if is_check:
        sys.stderr.write(f"{ROWS} lacks `{row.rules}`: run `python tools/record_detectors.py`\n")
        return 1
    PATH.write_bytes(msgspec.json.format(msgspec.json.encode((*rows, row)), indent=1) + b"\n")
    sys.stdout.write(f"{ROWS}: `{row.rules}` added\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
