"""What a stack is made of where no image registry can be reached: Debian packages and locked wheels.

Nothing is installed on this machine: everything lands in one folder. Needs root, for the trees are made by
a real package manager in a chroot. Fetches by name from the mirrors that apt and pip are set up for.
"""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.compose.obstacle import Obstacle, run_all

RELEASE = "trixie"
PYTHON = "3.13"
ENGINE = "docker.io,docker-cli,docker-compose,iptables,iproute2,ca-certificates"
SERVERS = "postgresql-17,redis-server,redis-tools"
INTERPRETER = "python3-minimal,python3-venv"
PROGRAMS = ("apt-get", "dpkg", "perl", "tar", "chroot", "mount", "unshare", "nsenter")
DISK_BYTES_MIN = 8 * 1024**3
GLIBC_MINORS = (5, 12, *range(17, 42))
"""Of manylinux: the release has glibc 2.41."""


@dataclass(frozen=True, slots=True)
class Materials:
    """``tree``: a Debian with the engine and the servers; ``python_tar``: one with Python alone;
    ``wheels``: every package of requirements.lock."""

    tree: Path
    python_tar: Path
    wheels: Path


def check_machine(folder: Path) -> None:
    """Raises :class:`Obstacle` if it is clear already that no engine can be started here."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        message = "a Docker engine of the test's own needs Linux and root"
        raise Obstacle(message)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        message = f"a Docker engine of the test's own needs {', '.join(missing)}"
        raise Obstacle(message)
    spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "true"]
    asked = subprocess.run(spaces, check=False, capture_output=True, text=True)
    if asked.returncode != 0:
        message = f"this machine lets nobody make namespaces: {asked.stderr.strip()}"
        raise Obstacle(message)
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES_MIN:
        message = f"the container stack needs {DISK_BYTES_MIN >> 30} GiB in `{folder}`, which has {free >> 30}"
        raise Obstacle(message)


def find_mirror() -> str:
    """The Debian mirror of this machine's own apt. Raises :class:`Obstacle`."""
    form = "$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    for line in listed.splitlines():
        release, component, uri = line.split("|")
        if component == "main" and "-" not in release and uri.rstrip("/").endswith("/debian"):
            return uri
    message = "apt's sources name no Debian mirror from which an engine could come"
    raise Obstacle(message)


def fetch_mmdebstrap(folder: Path, mirror: str, deadline: float) -> list[str]:
    """The command of mmdebstrap, fetched with an apt state of its own and unpacked, not installed."""
    apt = folder / "apt"
    for part in ("state/lists/partial", "cache/archives/partial", "sources.d"):
        (apt / part).mkdir(parents=True)
    (apt / "sources.list").write_text(f"deb {mirror} {RELEASE} main\n")
    (apt / "apt.conf").write_text(
        f'Dir::State "{apt}/state"; Dir::Cache "{apt}/cache"; APT::Sandbox::User "root";\n'
        f'Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "{apt}/sources.d";\n'
        'Acquire::Languages "none"; Acquire::Retries "2";\n'
    )
    program = "apt-get -qq update && apt-get -qq download mmdebstrap && dpkg -x mmdebstrap_*.deb x"
    environ = os.environ | {"APT_CONFIG": str(apt / "apt.conf")}
    run_all(
        {"fetching mmdebstrap": ["sh", "-c", f"cd '{apt}' && {program}"]}, folder, deadline, environ
    )
    return ["perl", str(apt / "x/usr/bin/mmdebstrap")]


def provision(folder: Path, lock: Path, deadline: float) -> Materials:
    """Make everything below ``folder``, at the same time where it can be. Raises :class:`Obstacle`."""
    check_machine(folder)
    mirror = find_mirror()
    mmdebstrap = fetch_mmdebstrap(folder, mirror, deadline)
    # The trees are thrown away: nothing needs to survive a power cut.
    mmdebstrap += ["--variant=minbase", "--dpkgopt=force-unsafe-io"]
    made = Materials(folder / "tree", folder / "python.tar", folder / "wheels")
    source = f"deb {mirror} {RELEASE} main"
    everything = f"--include={ENGINE},{SERVERS}"
    commands = {
        "making the engine's tree": [*mmdebstrap, everything, RELEASE, str(made.tree), source],
        "making the Python image": [
            *mmdebstrap, f"--include={INTERPRETER}", RELEASE, str(made.python_tar), source,
        ],
        "fetching wheels": [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
            "--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp",
            *platforms(), "--dest", str(made.wheels), "--requirement", str(lock),
        ],
    }  # fmt: skip
    run_all(commands, folder, deadline, os.environ)
    return made


def platforms() -> list[str]:
    """pip's names for what the image can load; pip does not work out the older ones by itself."""
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS]
    tags += [f"{old}_{machine}" for old in ("manylinux1", "manylinux2010", "manylinux2014")]
    return [part for tag in tags for part in ("--platform", tag)]
