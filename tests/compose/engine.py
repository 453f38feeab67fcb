"""A Docker engine of the test's own: in its own network, mounts and processes, gone with the test."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.compose.obstacle import Obstacle, last_lines, seconds_left
from tests.compose.provision import Materials, provision
from tests.servers import running

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TOTAL_SECONDS = 450.0
START_SECONDS = 30.0
COMMAND_SECONDS = 180.0
NOT_BEGUN = b"unable to start container process: waiting for init"
"""What runc says when it lost a race with itself on a busy machine: the program has not begun, and may be again."""
AGAIN_MAX = 2
FIGURES = pytest.StashKey[str]()
"""How long the steps of this run took and how large the image is, for the end of the run's report."""


class CommandFailed(AssertionError):
    """A program inside ended with an error, which the text shows."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: str

    def json(self) -> dict[str, object]:
        """The body, which must be a JSON object."""
        loaded = json.loads(self.body)
        assert isinstance(loaded, dict)
        return {str(name): value for name, value in loaded.items()}


@dataclass(slots=True)
class Engine:
    """A running engine. The repository lies at ``/src`` inside, read-only; ``tree`` is its root."""

    tree: Path
    pid: int
    deadline: float
    environ: dict[str, str] = field(default_factory=dict[str, str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def run(
        self,
        *command: str,
        check: bool = True,
        stdin: bytes | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> str:
        """Standard output of a program inside. Raises :class:`CommandFailed`."""
        done = self._run_once(command, stdin, seconds)
        for _ in range(AGAIN_MAX):
            if NOT_BEGUN in done.stderr:
                done = self._run_once(command, stdin, seconds)
        text = done.stdout.decode(errors="replace")
        if check and done.returncode != 0:
            shown = f"{text[-3000:]}\n{done.stderr.decode(errors='replace')[-3000:]}"
            message = f"{' '.join(command)} ended with {done.returncode}: {shown}"
            raise CommandFailed(message)
        return text

    def _run_once(
        self, command: tuple[str, ...], stdin: bytes | None, seconds: float
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self.enter(), *command],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            check=False,
            capture_output=True,
            timeout=min(seconds, seconds_left(self.deadline)),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"} | self.environ,
        )

    def enter(self) -> list[str]:
        """The command that runs another one beside the daemon, in its working directory."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--wd"]

    def compose(self, *arguments: str, check: bool = True, stdin: bytes | None = None) -> str:
        """``docker compose …`` on the repository's own compose.yaml."""
        return self.run("docker", "compose", *arguments, check=check, stdin=stdin)

    @contextlib.contextmanager
    def timed(self, name: str) -> Generator[None]:
        """Note how long something takes."""
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)

    def call(
        self, method: str, url: str, body: Mapping[str, object] | None = None, **headers: str
    ) -> Reply:
        """An HTTP request from the machine on which the engine runs, as far as it can tell."""
        asked = {"method": method, "url": url, "body": body, "headers": headers}
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--net", sys.executable, str(HERE / "call.py")],
            input=json.dumps(asked).encode(),
            check=True,
            capture_output=True,
            timeout=min(60.0, seconds_left(self.deadline)),
        )
        return Reply(**json.loads(done.stdout))


@contextlib.contextmanager
def own_engine() -> Generator[Engine]:
    """An engine with base images, for as long as the context lasts. Raises :class:`Obstacle`."""
    deadline = time.monotonic() + TOTAL_SECONDS
    folder = Path(tempfile.mkdtemp(prefix="moegate-stack-"))
    folder.chmod(0o755)  # apt works as a user of its own
    cgroup = folder.name
    try:
        start = time.monotonic()
        materials = provision(folder, REPOSITORY / "requirements.lock", deadline)
        materials.wheels.rename(materials.tree / "wheels")
        materials.python_tar.rename(materials.tree / "python.tar")
        provisioned = round(time.monotonic() - start, 1)
        with _daemon(materials, folder, cgroup, deadline) as engine:
            engine.seconds["packages and wheels"] = provisioned
            with engine.timed("base images"):
                _make_images(engine)
            yield engine
    finally:
        _remove(folder, cgroup)


@contextlib.contextmanager
def _daemon(materials: Materials, folder: Path, cgroup: str, deadline: float) -> Generator[Engine]:
    log = folder / "dockerd.log"
    script = [str(HERE / "start-engine.sh"), str(materials.tree), str(REPOSITORY), cgroup]
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", *script]
    engine = Engine(materials.tree, 0, deadline)

    def is_up() -> bool:
        if engine.pid == 0:
            children = psutil.Process().children(recursive=True)
            # Its command line is this one's until the script has become the daemon.
            found = [one.pid for one in children if one.name() == "dockerd"]
            engine.pid = found[0] if found else 0
        version = ("docker", "version", "--format", "{{.Server.Version}}")
        return engine.pid != 0 and bool(engine.run(*version, check=False).strip())

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                running(
                    command,
                    is_up=is_up,
                    log=log,
                    stop_signal=signal.SIGKILL,  # the kernel ends the rest: the daemon is its namespace's init
                    start_seconds=START_SECONDS,
                )
            )
        except RuntimeError as error:
            message = f"this machine lets no Docker engine start: {last_lines(log)}"
            raise Obstacle(message) from error
        yield engine


def _make_images(engine: Engine) -> None:
    """The base images by names of the test's own; the variables of compose.yaml name them."""
    root = str(engine.tree)
    skipped = ["proc", "sys", "dev", "run", "old", "src", "wheels", "python.tar", "var/lib/docker"]
    pack = ["tar", "-C", root, *(f"--exclude=./{name}" for name in skipped), "-c", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        subprocess.run(
            [*engine.enter(), "docker", "import", "-", "test/debian"],
            stdin=packing.stdout,
            check=True,
            capture_output=True,
            timeout=seconds_left(engine.deadline),
        )
    engine.run("docker", "import", "/python.tar", "test/python")
    images = "/src/tests/compose/images"
    base, builder = ("--build-arg", "BASE=test/debian"), ("--build-arg", "BASE=test/python")
    for name, context, argument in (
        ("postgres", images, base),
        ("redis", images, base),
        ("build", "/wheels", builder),
    ):
        file = f"{images}/{name}.Dockerfile"
        engine.run("docker", "build", "-q", "-t", f"test/{name}", "-f", file, *argument, context)


def _remove(folder: Path, cgroup: str) -> None:
    """Delete what is left; the mounts went with their namespace."""
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(folder) not in mounts, "a mount of the engine leaked out of its namespace"
    shutil.rmtree(folder, ignore_errors=True)
    for left in sorted(Path("/sys/fs/cgroup").glob(f"**/{cgroup}/**/"), reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(left)  # noqa: PTH106 - folders of the kernel, which hold files that nobody may delete
