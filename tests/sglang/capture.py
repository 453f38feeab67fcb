"""Capture what the real SGLang says into ``tests/fixtures/sglang``: ``python -m tests.sglang.capture``.

The simulator is held to these captures in every run of the tests, and to the running server in the
slow ones. Takes about a minute once SGLang's environment is there.
"""

import json
import tempfile
from pathlib import Path
from typing import get_args

from tests.sglang.conformance import converse, tidy
from tests.sglang.worker import ENVIRONMENT, Architecture, real_worker

CAPTURES = Path(__file__).resolve().parent.parent / "fixtures" / "sglang"


def main() -> None:
    """Run one worker of each architecture and keep its transcript."""
    for architecture in get_args(Architecture):
        with tempfile.TemporaryDirectory() as folder:
            with real_worker(Path(folder), architecture) as worker:
                said = converse(worker.url, worker.model)
            kept = tidy(said, [folder, str(ENVIRONMENT.resolve().parent)])
        CAPTURES.mkdir(parents=True, exist_ok=True)
        (CAPTURES / f"{architecture}.json").write_text(json.dumps(kept, indent=1) + "\n")
        print(f"captured {architecture}", flush=True)


if __name__ == "__main__":
    main()
