"""Starts that cannot work say so in one line, change nothing that others use, and end with exit code 1."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from itertools import takewhile
from pathlib import Path

import pytest

from tests.gateway_command import MOEGATE, REPOSITORY, command, end, environment, start
from tests.servers import find_free_port
from tests.upstreams import running_upstream


@pytest.fixture
def environ(tmp_path: Path) -> Generator[dict[str, str]]:
    """A gateway of one's own on SQLite, between two hosts."""
    url = f"sqlite:///{tmp_path}/accounts.db"
    with running_upstream() as outside, running_upstream() as inside:
        yield environment(tmp_path / "home", url, outside, inside)


def refused(environ: dict[str, str], *words: str) -> str:
    """The one line that a start ends with."""
    done = subprocess.run(
        [*MOEGATE, *words], cwd=REPOSITORY, env=environ, timeout=60, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("moegate: ")
    return line


def test_taken_port(environ: dict[str, str], tmp_path: Path) -> None:
    """Told before anything is made: the first admin key would be shown to nobody."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name, ways in (("serve", "`--port` or `MOEGATE_PORT`"), ("simulate", "`--port`")):
            line = refused(environ, name, "--port", str(port))
            assert f"port {port} of 127.0.0.1 is taken" in line
            assert line.endswith(f"choose one with {ways}")
    assert not (tmp_path / "accounts.db").exists()


def test_greeting_can_be_followed_as_it_stands(environ: dict[str, str]) -> None:
    """Both starts show a call whose key the shell fills in, and where the command is that nobody finds."""
    del environ["MOEGATE_ADMIN_TOKEN"]
    environ["PATH"] = "/nonexistent"
    for start_number in (1, 2):
        said = greeting(environ)
        assert "\n\n  try it:\n" in said
        key = re.search(r'-H "Authorization: Bearer (\S+)"', said)
        assert key is not None
        assert (key[1] == "$MOEGATE_KEY") is (start_number == 2)
        path = re.search(r"^  command +(\S+/moegate) \(not on the PATH\)$", said, re.MULTILINE)
        assert path is not None
        assert Path(path[1]).parent == Path(sys.executable).parent


def greeting(environ: dict[str, str]) -> str:
    """What a start tells people."""
    process = subprocess.Popen(
        [*MOEGATE, "serve", "--port", str(find_free_port())], cwd=REPOSITORY, env=environ,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        return "".join(takewhile(lambda line: "Say hello" not in line, process.stderr))
    finally:
        process.terminate()
        process.communicate(timeout=40)


def test_second_gateway_on_one_state_directory(environ: dict[str, str]) -> None:
    """Two that count one budget each for themselves would spend it twice; after the first a next one may."""
    process, _url = start(environ)
    try:
        line = refused(environ, "serve", "--port", "1")
        assert "another gateway works in" in line
        assert "MOEGATE_REDIS_URL" in line
    finally:
        end(process, signal.SIGKILL)
    process, _url = start(environ)
    end(process, signal.SIGTERM)


def test_second_gateway_on_one_postgresql(
    environ: dict[str, str], tmp_path: Path, postgres_database: str
) -> None:
    """The same from two machines, which share nothing but the database."""
    first = environ | {"MOEGATE_DATABASE_URL": postgres_database.replace("+asyncpg", "")}
    second = first | {"MOEGATE_HOME": str(tmp_path / "elsewhere")}
    command(first, "init")
    process, _url = start(first)
    try:
        assert "another gateway works on this database" in refused(second, "serve", "--port", "1")
    finally:
        end(process, signal.SIGKILL)
    process, _url = start(second)
    end(process, signal.SIGTERM)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MOEGATE_REDIS_URL", "redis//cache:6379", "`MOEGATE_REDIS_URL` is not a Redis URL"),
        ("MOEGATE_REDIS_URL", "redis://:pa/ss@cache", "percent-encoded"),
        ("MOEGATE_DATABASE_URL", "mysql://db/m", "must begin with"),
        ("MOEGATE_HOST", "no.such.host.invalid", "cannot listen on"),
        ("MOEGATE_CATALOGUE", "/nonexistent.yaml", "cannot read the catalogue"),
        (
            "MOEGATE_POLICY",
            "nope",
            "policy `nope`: no such file, and shipped are balanced, cheap",
        ),
        ("MOEGATE_POLICY", "/", "cannot read the policy `/`: Is a directory"),
        ("SGLANG_URLS", "gpu-1:30000", "`SGLANG_URLS` needs a base URL"),
        ("GROQ_BASE_URL", "proxy:80", "`GROQ_BASE_URL` needs a base URL"),
        ("MOEGATE_PROT", "80", "did you mean `MOEGATE_PORT`?"),
    ],
)
def test_settings_that_cannot_work(
    environ: dict[str, str], name: str, value: str, words: str
) -> None:
    """One line that names the setting, and no secret in it."""
    line = refused(environ | {name: value}, "serve", "--port", "1")
    assert words in line
    assert "pa/ss" not in line


def test_several_workers_check_once_before_they_start(environ: dict[str, str]) -> None:
    """What would end every worker ends the command, instead of workers that are replaced for ever."""
    several = environ | {"MOEGATE_WORKERS": "2", "MOEGATE_REDIS_URL": "redis://127.0.0.1:1"}
    assert "run `moegate init`" in refused(several, "serve", "--port", "1")


def test_first_admin_key_of_a_failed_start_is_not_lost(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """It was made, so it is shown."""
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text("targets: {nothing/here: {quality: 1}}\n")
    del environ["MOEGATE_ADMIN_TOKEN"]
    done = subprocess.run(
        [*MOEGATE, "serve", "--port", "1"], cwd=REPOSITORY, env=environ | {"MOEGATE_CATALOGUE": str(catalogue)},
        timeout=60, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"^admin key \(shown this once\): mg-\S{43}$", done.stderr, re.MULTILINE)
