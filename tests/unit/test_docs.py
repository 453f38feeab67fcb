"""The documentation is true to the code: links lead somewhere, names exist, tables are not stale."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperCommand, TyperGroup

from gateway.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"x-(?:moegate-[a-z-]*[a-z]|data-class|should-retry)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is a file or folder of the repository, with its anchor."""
    for link in LINK.findall(page.read_text()):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_generated_pages_are_fresh() -> None:
    """Settings, metrics and errors say what the code's tables say."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "render_docs.py", "--check"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_headers_are_those_of_the_code() -> None:
    """Every header of ours is documented, and no other is."""
    code = {
        found
        for package in ("gateway", "backends")
        for path in (ROOT / package).rglob("*.py")
        for found in HEADER.findall(path.read_text())
    }
    documented = {found for page in PAGES for found in HEADER.findall(page.read_text())}
    assert documented == code


def blocks(*kinds: str) -> Iterator[tuple[str, str]]:
    """Code blocks of these kinds with the page they stand on."""
    for page in PAGES:
        for kind, text in BLOCK.findall(page.read_text()):
            if kind in kinds:
                yield page.name, text


def test_code_blocks_parse() -> None:
    """Python, JSON and YAML on the pages are Python, JSON and YAML."""
    for _page, text in blocks("python"):
        ast.parse(text)
    for _page, text in blocks("json"):
        json.loads(text)
    for _page, text in blocks("yaml"):
        yaml.safe_load(text)


def commands(
    group: TyperGroup, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*words, name))
        else:
            assert isinstance(command, TyperCommand)
            yield (*words, name), command


def test_commands_exist() -> None:
    """Each `moegate …` on a page names a command, and only options that the command has."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    known = dict(commands(root, ()))
    said = set[str]()
    for page in PAGES:
        text = page.read_text()
        said |= set(re.findall(r"`moegate ([a-z][^`\n|]*)`", text))
        for _kind, block in BLOCK.findall(text):
            said |= set(re.findall(r"(?:^|; )moegate ([a-z][^#;\n|]*)", block, re.MULTILINE))
    assert len(said) > 10
    for line in said:
        words = line.split()
        at = next((n for n in (2, 1) if tuple(words[:n]) in known), None)
        if at is None:
            is_group = any(name[0] == words[0] for name in known)
            assert is_group, line
            assert len(words) == 1 or "|" in line, line
            continue
        options = {
            option for parameter in known[tuple(words[:at])].params for option in parameter.opts
        }
        for word in words[at:]:
            if word.startswith("--"):
                assert word.partition("=")[0] in options | {"--help"}, line
