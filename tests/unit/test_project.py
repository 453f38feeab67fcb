"""What the project says of itself holds: locks, pins, targets, versions, what is shipped and imported."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from tests.shared_data import DataDemanded, DataMissing, find_shared
from tools import check_sizes

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = ("gateway", "backends", "policies", "migrations")
LOCKS = ("requirements.lock", "requirements-dev.lock", "tools/uv.lock")
NEVER_LOCKED = ("credsweeper", "sglang", "torch", "transformers")
"""Source-only packages behind it; spoken to and never imported; gigabytes behind an extra."""

# Put together here, so that this file does not hold what it looks for.
HOSTS = (
    *("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "index.dock" + "er.io"),
    *("registry-1.dock" + "er.io", "gh" + "cr.io", "quay" + ".io", "nv" + "cr.io"),
)
MACHINE_PATH = re.compile(r"(?<![\w./$}-])/(?:home/\w|Users/\w|work/|root/)")
PATHS_ALLOWED = {"compose.yaml": "/ro" + "ot/.cache/huggingface"}
"""The place of models inside of SGLang's official image."""


def read_lock(name: str) -> dict[str, str]:
    """Package to exact version, of one lock file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", text, re.MULTILINE))


def declared() -> list[str]:
    """Every requirement of pyproject.toml but those of the extras, which are not locked."""
    groups = PROJECT["dependency-groups"]
    build = PROJECT["build-system"]["requires"]
    return [*PROJECT["project"]["dependencies"], *groups["build"], *groups["dev"], *build]


def normal(name: str) -> str:
    """A distribution's name as the locks spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def tracked() -> list[Path]:
    """Every file of the repository, and those that a commit would add."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_exact_hashed_versions_and_no_host(name: str) -> None:
    """Every entry of a lock has an exact version and a SHA-256, and no line says where to fetch it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    bare = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
    assert bare == []
    assert len(read_lock(name)) == len({entry.split("==")[0] for entry in entries})
    assert re.search(r"https?:|file:|git\+|--(?:extra-)?index|--find-links", text) is None


def test_litellm_is_the_pinned_one_and_never_a_poisoned_one() -> None:
    """Both locks hold LiteLLM 1.106.2; 1.82.7 and 1.82.8, which carried malware, stand nowhere."""
    for name in LOCKS[:2]:
        assert read_lock(name)["litellm"] == "1.106.2"
        text = (ROOT / name).read_text(encoding="utf-8")
        assert re.search(r"^litellm==1\.82\.[78]\b", text, re.MULTILINE) is None


def test_starlette_is_newer_than_the_host_header_bypass() -> None:
    """Starlette 1.0.0 could be bypassed by a Host header: the locked one is newer."""
    major, minor, *_ = read_lock("requirements.lock")["starlette"].split(".")
    assert (int(major), int(minor)) > (1, 0)


def test_locks_agree_and_leave_out_what_must_stay_out() -> None:
    """What `make run` installs is what is tested, and neither lock needs a compiler or a GPU."""
    base, dev = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
    assert base.items() <= dev.items()
    assert not dev.keys() & set(NEVER_LOCKED)


@pytest.mark.parametrize("requirement", declared())
def test_requirement_is_exact_and_locked(requirement: str) -> None:
    """pyproject.toml and the dev lock name the same version of each dependency."""
    match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)(?:;.*)?", requirement)
    assert match is not None, f"`{requirement}` is not an exact version"
    assert read_lock("requirements-dev.lock")[normal(match[1])] == match[2]


def test_version_is_the_changelogs_newest() -> None:
    """The package, what is installed and the changelog's first entry are one version."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["project"]["version"] == version("moegate")


def test_no_file_names_a_machine_path_or_a_registry() -> None:
    """The repository works wherever it lies and from whatever mirror a site has."""
    found: list[str] = []
    for path in tracked():
        name = str(path.relative_to(ROOT))
        text = path.read_bytes().decode("utf-8", errors="replace")
        text = text.replace(PATHS_ALLOWED.get(name, "\0"), "")
        found += [f"{name}: {host}" for host in HOSTS if host in text]
        found += [f"{name}: {hit[0]}" for hit in MACHINE_PATH.finditer(text)]
    assert found == []


def test_every_target_of_the_makefile_explains_itself() -> None:
    """`make` alone lists each target with its help, and each listed target exists and is phony."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    explained = re.findall(r"^  make ([a-z-]+) +\S", shown, re.MULTILINE)
    assert sorted(explained) == sorted(phony[1].split())
    assert set(explained) >= {"setup", "run", "test", "test-full", "lint", "bench", "lock", "clean"}


def test_landing_script_is_runnable_bash() -> None:
    """.ci/run may be executed and parses."""
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111
    subprocess.run(["bash", "-n", script], check=True)


def imports(folders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """File and top-level name of every import below ``folders``."""
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                yield str(path.relative_to(ROOT)), name.partition(".")[0]


@pytest.mark.parametrize(("folders", "groups"), [(SHIPPED, ()), (("tests", "tools"), ("dev",))])
def test_whatever_is_imported_is_declared(folders: Sequence[str], groups: Sequence[str]) -> None:
    """No module leans on a package that only another package happens to bring."""
    requirements = list(PROJECT["project"]["dependencies"])
    for group in groups:
        requirements += PROJECT["dependency-groups"][group]
    known = {normal(re.split(r"[\[=]", requirement)[0]) for requirement in requirements}
    owners = packages_distributions()
    undeclared = {
        f"{path}: {name}"
        for path, name in imports(folders)
        if name not in sys.stdlib_module_names and name not in {*SHIPPED, "tests", "tools"}
        if not known & {normal(owner) for owner in owners.get(name, [])}
    }
    assert undeclared == set()


def test_only_the_long_tail_names_litellm_and_only_inside_a_function() -> None:
    """LiteLLM costs 2.7 s and 190 MB to import: nothing pays for it that does not use it."""
    longtail = ROOT / "backends" / "longtail.py"
    assert {path for path, name in imports(SHIPPED) if name == "litellm"} <= {
        str(longtail.relative_to(ROOT))
    }
    if longtail.exists():
        body = ast.parse(longtail.read_text(encoding="utf-8")).body
        at_the_top = [
            ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert not [line for line in at_the_top if "litellm" in line]


def test_the_gateway_starts_without_its_heavy_optional_parts() -> None:
    """Importing the whole application loads none of LiteLLM, pydantic, torch, Z3."""
    program = (
        "import sys, gateway.app\n"
        "heavy = {'litellm', 'pydantic', 'torch', 'transformers', 'sglang', 'boto3', 'z3'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == ""


def test_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    """What is installed is what is in the repository: code, migrations, data, scripts and pages."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("moegate-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        (entry,) = [name for name in held if name.endswith("entry_points.txt")]
        assert "moegate = gateway.cli:main" in archive.read(entry).decode()
    names = {str(path.relative_to(ROOT)) for path in tracked()}
    expected = {name for name in names if name.startswith(tuple(f"{top}/" for top in SHIPPED))}
    assert expected <= held
    assert {name.partition("/")[0] for name in held if ".dist-info" not in name} == set(SHIPPED)


def test_size_check_finds_what_is_too_long(tmp_path: Path) -> None:
    """A module of 601 lines and a function of 61 are found, one line less of each is not."""
    path = tmp_path / "long.py"
    path.write_text("def long():\n" + "    pass\n" * 60 + "\n" * 540)
    assert len(check_sizes.check(path)) == 2
    path.write_text("def long():\n" + "    pass\n" * 59 + "\n" * 540)
    assert check_sizes.check(path) == []


def test_named_data_that_are_absent_are_an_error(tmp_path: Path) -> None:
    """Without MOEGATE_SHARED absent data skip a test; with it they fail it."""
    absent = tmp_path / "absent"
    assert find_shared(None, tmp_path) == find_shared(str(tmp_path), absent) == tmp_path
    with pytest.raises(DataMissing, match="MOEGATE_SHARED"):
        find_shared(None, absent)
    with pytest.raises(DataDemanded, match="absent"):
        find_shared(str(absent), tmp_path)
