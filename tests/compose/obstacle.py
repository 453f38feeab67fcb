"""What keeps a machine from running containers, as a reason to skip; and programs run under a deadline."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Obstacle(Exception):
    """This machine cannot start an engine; the text says precisely why."""


def seconds_left(deadline: float) -> float:
    """Until ``deadline`` (monotonic). Raises ``TimeoutError`` when it is past."""
    left = deadline - time.monotonic()
    if left <= 0:
        message = "the time for the container stack is over"
        raise TimeoutError(message)
    return left


def run_all(
    commands: Mapping[str, Sequence[str]], logs: Path, deadline: float, environ: Mapping[str, str]
) -> None:
    """Run ``commands`` at the same time. Raises :class:`Obstacle` with the last lines of one that failed."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with (logs / f"{name}.log").open("wb") as log:
                running[name] = subprocess.Popen(
                    list(command), stdout=log, stderr=subprocess.STDOUT, env=dict(environ)
                )
        for name, process in running.items():
            try:
                code = process.wait(seconds_left(deadline))
            except (subprocess.TimeoutExpired, TimeoutError) as error:
                message = f"{name}: not done in time: {last_lines(logs / f'{name}.log')}"
                raise Obstacle(message) from error
            if code != 0:
                message = f"{name} ended with {code}: {last_lines(logs / f'{name}.log')}"
                raise Obstacle(message)
    finally:
        for process in running.values():
            if process.poll() is None:
                process.terminate()
                process.wait(20)


def last_lines(log: Path, count: int = 3) -> str:
    """The end of a log in one line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:])[-600:]
