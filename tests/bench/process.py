"""Processes of a bench run: start them pinned to a CPU, read what they used, end them."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Used:
    """CPU milliseconds (user and system, run time of every thread) and resident MiB of process trees."""

    cpu_ms: float
    resident_mib: float


def start(
    command: Sequence[str], *, cpu: int, log: IO[bytes], cwd: Path, environ: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start ``command`` on one CPU in a session of its own."""
    return subprocess.Popen(
        ["taskset", "-c", str(cpu), *command],
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=dict(environ),
        start_new_session=True,
    )


def tree(root: int) -> list[int]:
    """``root`` and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if fields is not None:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = list[int](), [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def used(roots: Sequence[int]) -> Used:
    """What the trees under ``roots`` have used so far: ``/proc/PID/task/*/schedstat``, nanoseconds."""
    cpu_ns = pages = 0
    for root in roots:
        for process in tree(root):
            fields = _stat(process)
            if fields is None:
                continue
            pages += int(fields[21])
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{process}/task"):
                    text = Path(f"/proc/{process}/task/{thread}/schedstat").read_text()
                    cpu_ns += int(text.split()[0])
    return Used(cpu_ns / 1e6, pages * PAGE_BYTES / 2**20)


def _stat(process: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the tree of ``process``: politely, then not."""
    processes = tree(process.pid)
    for signum, patience in ((signal.SIGTERM, 8.0), (signal.SIGKILL, 3.0)):
        for one in processes:
            with contextlib.suppress(OSError):
                os.kill(one, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not any(Path(f"/proc/{one}").exists() for one in processes):
                return
            time.sleep(0.05)
