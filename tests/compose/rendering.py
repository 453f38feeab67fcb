"""compose.yaml with its variables filled in: by Docker Compose where it is there, and by this module anywhere.

This module knows what compose.yaml uses (``$$``, ``${A}``, ``${A-b}``, ``${A:-b}``, nested; profiles) and
refuses the rest, so that what it renders is what Compose would.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE_FILE = REPOSITORY / "compose.yaml"
PROFILES: tuple[tuple[str, ...], ...] = ((), ("demo",), ("selfhost",))

Tree = Mapping[str, object]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def mapping(value: object) -> dict[str, object]:
    """``value`` as a mapping by text; nothing is an empty one."""
    if value is None:
        return {}
    assert isinstance(value, dict), f"not a mapping: {value!r}"
    return {str(key): item for key, item in cast("dict[object, object]", value).items()}


def sequence(value: object) -> list[object]:
    """``value`` as a list; nothing is an empty one."""
    if value is None:
        return []
    assert isinstance(value, list), f"not a list: {value!r}"
    return list(cast("list[object]", value))


def names(value: object) -> list[str]:
    """The names in a short list, in a long one (by ``source``), or in a mapping (by key)."""
    if isinstance(value, dict):
        return list(mapping(cast("object", value)))
    found = sequence(value)
    return [str(mapping(one)["source"]) if isinstance(one, dict) else str(one) for one in found]


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with its variables filled in from ``environ``."""
    done, _ = _fill(text, 0, environ, is_nested=False)
    return done


def _fill(text: str, at: int, environ: Mapping[str, str], *, is_nested: bool) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text):
        if is_nested and text[at] == "}":
            return "".join(parts), at
        if text[at] != "$":
            parts.append(text[at])
            at += 1
        elif text.startswith("$$", at):
            parts.append("$")
            at += 2
        else:
            value, at = _variable(text, at, environ)
            parts.append(value)
    assert not is_nested, f"an open brace in {text!r}"
    return "".join(parts), at


def _variable(text: str, at: int, environ: Mapping[str, str]) -> tuple[str, int]:
    assert text.startswith("${", at), f"a bare dollar sign in {text!r}"
    name = _NAME.match(text, at + 2)
    assert name is not None, f"no name in {text!r}"
    at = name.end()
    given = environ.get(name[0])
    for operator in (":-", "-"):
        if text.startswith(operator, at):
            other, at = _fill(text, at + len(operator), environ, is_nested=True)
            is_used = given is None or (operator == ":-" and given == "")
            return (other if is_used else str(given)), at + 1
    assert text.startswith("}", at), f"an operator that nobody taught this module in {text!r}"
    return given or "", at + 1


def variables(text: str) -> set[str]:
    """Every variable that ``text`` names."""
    return set(re.findall(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)", text))


def load_raw(path: Path = COMPOSE_FILE) -> dict[str, object]:
    """The file as data, anchors and merges resolved, variables left as they are."""
    return mapping(yaml.safe_load(path.read_text(encoding="utf-8")))


def render(environ: Mapping[str, str], profiles: tuple[str, ...] = ()) -> dict[str, object]:
    """The project that ``profiles`` start, without Docker."""
    project = mapping(_walk(load_raw(), environ))
    services = mapping(project["services"])
    project["services"] = {
        name: service
        for name, service in services.items()
        if not names(mapping(service).get("profiles"))
        or set(names(mapping(service)["profiles"])) & set(profiles)
    }
    return {name: value for name, value in project.items() if not name.startswith("x-")}


def _walk(value: object, environ: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return interpolate(value, environ)
    if isinstance(value, dict):
        found = mapping(cast("object", value))
        return {key: _walk(item, environ) for key, item in found.items()}
    if isinstance(value, list):
        return [_walk(item, environ) for item in sequence(cast("object", value))]
    return value


def find_compose() -> tuple[list[str], str]:
    """The command of Docker Compose 2 or newer, and an empty text; or why there is none."""
    tried: list[str] = []
    for command in (["docker", "compose"], ["docker-compose"]):
        shown = " ".join(command)
        if shutil.which(command[0]) is None:
            tried.append(f"no `{command[0]}` on the PATH")
            continue
        done = subprocess.run([*command, "version"], check=False, capture_output=True, text=True)
        version = re.search(r"\bv?(\d+)\.\d+\.\d+", done.stdout)
        if done.returncode == 0 and version is not None and int(version[1]) >= 2:
            return command, ""
        words = (done.stderr or done.stdout).strip().splitlines()
        tried.append(f"`{shown} version` says `{words[0] if words else done.returncode}`")
    return [], f"Docker Compose 2 is not here: {'; '.join(tried)}"


def compose_config(
    command: list[str], environ: Mapping[str, str], profiles: tuple[str, ...]
) -> dict[str, object]:
    """The project as ``docker compose config`` renders it, in the environment ``environ`` alone."""
    asked = [part for profile in profiles for part in ("--profile", profile)]
    done = subprocess.run(
        [*command, "--file", str(COMPOSE_FILE), "--env-file", os.devnull, *asked, "config"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | dict(environ),
    )
    assert done.returncode == 0, done.stderr
    return mapping(yaml.safe_load(done.stdout))
