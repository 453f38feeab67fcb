"""The container files as data: hardened, without a secret, by variable, and in step with the gateway."""

import dataclasses
import os
import re
import stat
import subprocess
import tomllib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from backends.catalogue import read_providers
from gateway.settings import Settings, load_settings
from tests.compose.rendering import (
    COMPOSE_FILE,
    PROFILES,
    REPOSITORY,
    compose_config,
    find_compose,
    interpolate,
    load_raw,
    mapping,
    names,
    render,
    variables,
)
from tests.compose.rules import find_faults

TEXT = COMPOSE_FILE.read_text(encoding="utf-8")
RAW_SERVICES = mapping(load_raw()["services"])
SENTINEL = "sentinel-of-a-secret-in-the-environment"
SECRET_VARIABLES = (
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "SGLANG_API_KEY", "HF_TOKEN",
    "MOEGATE_MASTER_KEY", "MOEGATE_ADMIN_TOKEN", "MOEGATE_DATABASE_URL", "POSTGRES_PASSWORD",
)  # fmt: skip
IN_THE_ENVIRONMENT = dict.fromkeys(SECRET_VARIABLES, SENTINEL)
SERVICES: dict[tuple[str, ...], set[str]] = {
    (): {"postgres", "redis", "migrate", "gateway"},
    ("demo",): {"postgres", "redis", "migrate", "gateway", "simulator"},
    ("selfhost",): {"postgres", "redis", "migrate", "gateway", "sglang"},
}

Change = Callable[[dict[str, dict[str, object]]], object]
CHANGES: dict[str, Change] = {
    "redis: runs as": lambda found: found["redis"].update(user="0:0"),
    "gateway: runs as": lambda found: found["gateway"].pop("user"),
    "postgres: may gain privileges": lambda found: found["postgres"].pop("security_opt"),
    "sglang: keeps capabilities": lambda found: found["sglang"].pop("cap_drop"),
    "simulator: sets `privileged`": lambda found: found["simulator"].update(privileged=True),
    "sglang: sets `ipc`": lambda found: found["sglang"].update(ipc="host"),
    "migrate: may write": lambda found: found["migrate"].update(read_only=False),
    "gateway: has no health check": lambda found: found["gateway"].pop("healthcheck"),
    "redis: does not come back": lambda found: found["redis"].update(restart="no"),
    "postgres: publishes 1 ports": lambda found: found["postgres"].update(
        ports=[{"target": 5432, "host_ip": "127.0.0.1"}]
    ),
    "gateway: is published on `every address`": lambda found: found["gateway"].update(
        ports=[{"target": 8080}]
    ),
    "postgres: joins ['inside', 'outside']": lambda found: found["postgres"].update(
        networks=["inside", "outside"]
    ),
    "simulator: is given": lambda found: found["simulator"].update(secrets=["master_key"]),
    "gateway: has `OPENAI_API_KEY`": lambda found: mapping_of(found, "environment").update(
        OPENAI_API_KEY="x"
    ),
    "gateway: looks for": lambda found: mapping_of(found, "environment").update(
        MISTRAL_API_KEY_FILE="/run/secrets/mistral_api_key"
    ),
    "sglang: reserves no GPU": lambda found: found["sglang"].pop("deploy"),
    "gateway: logs without end": lambda found: found["gateway"].pop("logging"),
    "gateway: does not wait for migrate": lambda found: mapping_of(found, "depends_on").update(
        migrate={"condition": "service_started"}
    ),
}


def mapping_of(services: dict[str, dict[str, object]], part: str) -> dict[str, object]:
    services["gateway"][part] = mapping(services["gateway"][part])
    held = services["gateway"][part]
    assert isinstance(held, dict)
    return held


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of secrets as the script makes it, all providers given."""
    folder = tmp_path_factory.mktemp("secrets") / "made"
    make_secrets(folder, OPENAI_API_KEY="sk-made-for-this-test", HF_TOKEN="hf_made-for-this-test")
    return folder


def make_secrets(folder: Path, **environ: str) -> None:
    script = REPOSITORY / "deploy" / "make-secrets.sh"
    subprocess.run(
        ["sh", str(script), str(folder)],
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"]} | environ,
    )


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("profiles", PROFILES)
def test_every_service_is_hardened(profiles: tuple[str, ...]) -> None:
    """Non-root, no capability, read-only, watched, on the loopback alone, with its own secrets only."""
    project = render({}, profiles)
    assert set(mapping(project["services"])) == SERVICES[profiles]
    assert find_faults(project) == []


@pytest.mark.parametrize("profiles", PROFILES)
def test_docker_compose_reads_it_the_same_way(profiles: tuple[str, ...], secrets: Path) -> None:
    """``docker compose config`` takes the file, keeps every rule and shows no secret."""
    command, reason = find_compose()
    if not command:
        pytest.skip(reason)
    environ = IN_THE_ENVIRONMENT | {"MOEGATE_SECRETS": str(secrets)}
    project = compose_config(command, environ, profiles)
    assert set(mapping(project["services"])) == SERVICES[profiles]
    assert find_faults(project) == []
    assert_shows_no_secret(project, secrets)


@pytest.mark.parametrize("fault", CHANGES)
def test_rules_find_what_breaks_them(fault: str) -> None:
    """Each rule fails on a project that breaks it, and on nothing else."""
    project = deepcopy(render({}, ("demo", "selfhost")))
    services = {name: mapping(service) for name, service in mapping(project["services"]).items()}
    CHANGES[fault](services)
    (found,) = find_faults(project | {"services": services})
    assert found.startswith(fault)


@pytest.mark.parametrize("profiles", PROFILES)
def test_rendered_project_shows_no_secret(profiles: tuple[str, ...], secrets: Path) -> None:
    """Neither the files' contents nor keys in the operator's environment get into the configuration."""
    environ = IN_THE_ENVIRONMENT | {"MOEGATE_SECRETS": str(secrets)}
    assert_shows_no_secret(render(environ, profiles), secrets)


def assert_shows_no_secret(project: dict[str, object], secrets: Path) -> None:
    shown = str(project)
    assert str(secrets) in shown
    assert SENTINEL not in shown
    assert [name for name, value in contents(secrets).items() if value and value in shown] == []


def test_every_image_comes_by_variable() -> None:
    """A site with a registry of its own replaces each image, the build's base included, without an edit."""
    used: dict[str, str] = {}
    for name, service in RAW_SERVICES.items():
        match = re.fullmatch(
            r"\$\{([A-Z]+_IMAGE):-[a-z0-9./-]+:[\w.-]+\}", str(mapping(service)["image"])
        )
        assert match is not None, f"{name} has a fixed image"
        used[name] = match[1]
    environ = {variable: f"registry.example/{variable.lower()}" for variable in used.values()}
    services = mapping(render(environ, ("demo", "selfhost"))["services"])
    for name, variable in used.items():
        assert mapping(services[name])["image"] == environ[variable]
    build = mapping(mapping(RAW_SERVICES["gateway"])["build"])
    assert interpolate(str(mapping(build["args"])["BUILD_IMAGE"]), {"PYTHON_IMAGE": "own"}) == "own"


def test_gateway_is_told_only_what_it_understands() -> None:
    """Every variable set in a container is an option of the gateway, so none is lost to a typo."""
    known = {str(option.metadata["env"]) for option in dataclasses.fields(Settings)}
    known.add("MOEGATE_CONFIG")
    for provider in read_providers().values():
        known |= {provider.api_key_variable, provider.base_url_variable}
    for name in ("gateway", "migrate"):
        told = names(mapping(RAW_SERVICES[name])["environment"])
        assert [one for one in told if one.removesuffix("_FILE") not in known] == []


def test_example_configuration_names_real_options(tmp_path: Path) -> None:
    """The mounted configuration loads as it is, and with each of its examples switched on."""
    example = REPOSITORY / "deploy" / "config" / "moegate.yaml"
    load_settings(environ={}, variables={}, config=example)
    text, count = re.subn(r"^# (?=[a-z_]+: )", "", example.read_text(), flags=re.MULTILINE)
    assert count >= 3
    (tmp_path / "moegate.yaml").write_text(text)
    load_settings(environ={}, variables={}, config=tmp_path / "moegate.yaml")


def test_image_is_built_for_nobody_in_particular() -> None:
    """The last stage starts from the plain base and ends as a numbered user; nothing else gets in."""
    lines = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    starts = [line for line in lines if line.startswith("FROM ")]
    assert starts == ["FROM ${BUILD_IMAGE} AS build", "FROM ${PYTHON_IMAGE}"]
    last = lines[lines.index(starts[-1]) :]
    assert [line for line in last if line.startswith(("COPY", "ADD"))] == [
        "COPY --from=build /opt/moegate /opt/moegate"
    ]
    (user,) = [line.split()[1] for line in last if line.startswith("USER ")]
    assert {
        mapping(RAW_SERVICES[name])["user"] for name in ("gateway", "migrate", "simulator")
    } == {user}


def test_build_sees_what_is_shipped_and_nothing_else() -> None:
    """The context is a list of what may get in: secrets, tests and the history stay out."""
    ignore = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignore[0] == "*"
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert allowed == shipped | {"pyproject.toml", "requirements.lock", "README.md", "LICENSE"}
    copied = re.findall(
        r"^COPY (?!--)(.+) \S+$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )
    assert {source for line in copied for source in line.split()} == allowed


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """A second run changes nothing, a later key is taken up, and no two sites share a secret."""
    first, second = tmp_path / "first", tmp_path / "second"
    make_secrets(first)
    made = contents(first)
    assert made["openai_api_key"] == ""
    make_secrets(first, OPENAI_API_KEY="sk-later")
    assert contents(first) == made | {"openai_api_key": "sk-later"}
    make_secrets(first, OPENAI_API_KEY="sk-other")
    assert contents(first)["openai_api_key"] == "sk-later"
    make_secrets(second)
    others = contents(second)
    assert [name for name, value in made.items() if value and others[name] == value] == []
    assert made["postgres_password"] in made["database_url"]
    assert made["redis_password"] in made["redis_url"]
    assert made["redis_conf"] == f"requirepass {made['redis_password']}"
    assert re.fullmatch(r"mg-[A-Za-z0-9_-]{43}", made["admin_token"])


def test_secrets_are_closed_to_other_users(tmp_path: Path) -> None:
    """The folder is the owner's alone; the files in it may be read by the containers' users."""
    folder = tmp_path / "made"
    make_secrets(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
    wanted = {
        Path(str(mapping(one)["file"])).name for one in mapping(load_raw()["secrets"]).values()
    }
    assert {path.name for path in folder.iterdir()} == wanted


def test_every_variable_and_secret_is_documented() -> None:
    """docs/containers.md has a row for each variable and each secret, and for no other."""
    page = (REPOSITORY / "docs" / "containers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Za-z_]+)` \|", page, re.MULTILINE)
    profiles = {name for some in PROFILES for name in some}
    assert sorted(rows) == sorted({*variables(TEXT), *mapping(load_raw()["secrets"]), *profiles})
    for variable, default in re.findall(r"\$\{([A-Z_]+):?-([^{}$]+)\}", TEXT):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{variable}` |"))
        assert f"| `{default}` |" in row, f"the default of {variable} is {default}"


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("${A:-b}", {}, "b"),
        ("${A:-b}", {"A": ""}, "b"),
        ("${A-b}", {"A": ""}, ""),
        ("${A:-${B:-c}}/d", {"B": "e"}, "e/d"),
        ("$$(cat) ${A}", {"A": "$$"}, "$(cat) $$"),
    ],
)
def test_variables_are_filled_in_as_compose_does(
    text: str, environ: dict[str, str], expected: str
) -> None:
    """The rendering without Docker follows the rules of the Compose file format."""
    assert interpolate(text, environ) == expected
