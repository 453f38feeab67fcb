"""The documentation is true to the code: links lead somewhere, names exist, tables are not stale.

Both ways: what the code has is documented, and what is documented the code has.
"""

import ast
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import pytest
import typer
import yaml
from typer.core import TyperCommand, TyperGroup

from backends.catalogue import read_providers
from backends.wire.failure import EXPLANATIONS, FailureKind
from gateway.api.hot import COUNT_VERB, GEMINI_VERBS, POST_PATHS
from gateway.cli.main import app
from gateway.settings import ProviderVariables, Settings, load_settings
from gateway.telemetry.metrics import LABELS, Metrics
from policies.cel.schema import SCHEMA
from policies.classify import Classifier

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
EVERYTHING = "\n".join(TEXTS.values())
SHIPPED = ("gateway", "backends", "policies")
MODULES = {
    path: path.read_text(encoding="utf-8")
    for package in SHIPPED
    for path in (ROOT / package).rglob("*.py")
}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"x-(?:moegate-[a-z-]*[a-z]|data-class|should-retry)")
METRIC = re.compile(r"\bmoegate_[a-z][a-z_]*[a-z]\b")
VARIABLE = re.compile(r"\bMOEGATE_[A-Z_]*[A-Z]\b")
MENTION = re.compile(
    r"`((?:gateway|backends|policies|migrations|tests|tools|docs|deploy)/[^`\s]*)`"
)
SAID = re.compile(r"(?:^|; |\$ |exec gateway )moegate ([a-z][^#;\n|]*)", re.MULTILINE)
SERIES = ("_total", "_bucket", "_sum", "_count", "_created", "")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = BLOCK.sub("", TEXTS.get(page) or page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def blocks(*kinds: str) -> list[str]:
    """Code blocks of these kinds, of every page."""
    found = [block for text in TEXTS.values() for block in BLOCK.findall(text)]
    return [text for kind, text in found if kind in kinds]


def rows(page: str, header: str) -> list[str]:
    """The first cells of the table that begins with ``header``, without back-ticks."""
    lines = iter((DOCS / page).read_text(encoding="utf-8").splitlines())
    assert any(line.startswith(header) for line in lines), header
    next(lines)
    cells: list[str] = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells.append(line.split("|")[1].strip().strip("`"))
    return cells


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is a file or folder of the repository, with its anchor."""
    for link in LINK.findall(BLOCK.sub("", TEXTS[page])):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_mentioned_exist(page: Path) -> None:
    """A path of the repository in back-ticks is a file or folder that is there."""
    for mention in MENTION.findall(TEXTS[page]):
        assert (ROOT / mention).exists(), mention


def test_every_page_is_linked() -> None:
    """No page of docs/ stands alone: some other page leads to it."""
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page, text in TEXTS.items()
        for link in LINK.findall(text)
        if link.partition("#")[0] and (page.parent / link.partition("#")[0]).resolve() != page
    }
    assert {page.name for page in PAGES if page.parent == DOCS and page not in linked} == set()


def test_generated_pages_are_fresh() -> None:
    """Settings, metrics and errors say what the code's tables say."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "render_docs.py", "--check"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_settings_are_documented() -> None:
    """Each option and each provider has its row, and no other has one."""
    options = {name for name in Settings.__dataclass_fields__ if name != "providers"}
    assert set(rows("settings.md", "| option")) == options
    assert set(rows("settings.md", "| provider")) == set(read_providers())


def test_variables_exist() -> None:
    """Every variable of ours on any page is read by the gateway, the compose file or the tests."""
    settings = {str(one.metadata["env"]) for one in Settings.__dataclass_fields__.values()}
    known = settings | {f"{name}_FILE" for name in settings} | {"MOEGATE_CONFIG", "MOEGATE_KEY"}
    known |= set(VARIABLE.findall((ROOT / "compose.yaml").read_text(encoding="utf-8")))
    for name in ("tests/conftest.py", "tests/wire/published.py"):
        known |= set(VARIABLE.findall((ROOT / name).read_text(encoding="utf-8")))
    assert set(VARIABLE.findall(EVERYTHING)) - known == set()


def test_metrics_are_documented() -> None:
    """Each instrument and label has its row; every metric named on any page is a series of one."""
    instruments = {one.name: one.type for one in Metrics("1").registry.collect()}
    shown = {name + ("_total" if kind == "counter" else "") for name, kind in instruments.items()}
    assert set(rows("metrics.md", "| metric")) == shown
    assert set(rows("metrics.md", "| label")) == set(LABELS)
    series = {name + suffix for name in instruments for suffix in SERIES}
    assert set(METRIC.findall(EVERYTHING)) - series == set()


def test_every_label_has_a_meaning() -> None:
    """What a scrape can show as a label is in the table of labels, and nothing else is."""
    metrics = Metrics("1")
    metrics.count_request("answered", 0.1)
    metrics.count_attempt("openai/gpt-5.5", "settled", 1, 1, 1)
    metrics.healthy.labels("openai/gpt-5.5").set(1)
    shown = set(re.findall(r'[{,]([a-z_]+)="', metrics.render().decode()))
    assert shown - {"le"} == set(LABELS)


def test_error_kinds_are_documented() -> None:
    """Each kind has its meaning and its row, and no other has one."""
    kinds = set(get_args(FailureKind))
    assert set(EXPLANATIONS) == kinds
    assert set(rows("errors.md", "| kind | status")) == kinds
    assert set(rows("errors.md", "| kind | means")) == kinds


def test_headers_are_those_of_the_code() -> None:
    """Every header of ours is documented, and no other is."""
    code = {found for text in MODULES.values() for found in HEADER.findall(text)}
    assert set(HEADER.findall(EVERYTHING)) == code


def test_endpoints_are_those_of_the_code() -> None:
    """The API's page lists each route of the gateway, and the simulator's each of the simulator."""
    served = "".join(text for path, text in MODULES.items() if path.parent == ROOT / "gateway/api")
    routes = re.findall(r'Route\("([^"]+)"', served)
    code = {route.replace(":path", "") for route in routes} | POST_PATHS
    code |= {f"/v1beta/models/{{model}}:{verb}" for verb in (*GEMINI_VERBS, COUNT_VERB)}
    assert {row.partition(" ")[2] for row in rows("api.md", "| endpoint")} == code
    simulator = MODULES[ROOT / "backends/sglang/simulator/app.py"]
    said = {path for row in rows("simulator.md", "| endpoint") for path in row.split("`, `")}
    assert said == {
        path.replace(":path", "") for path in re.findall(r'Route\("([^"]+)"', simulator)
    }


def test_detected_types_are_documented() -> None:
    """The privacy page names every type that a detector can find, and no other."""
    text = TEXTS[DOCS / "privacy.md"]
    assert set(re.findall(r"`((?:pii|secret)\.\w+)`", text)) == set(Classifier().types)


def test_facts_of_policies_are_documented() -> None:
    """The page on policies names every fact that an expression can ask for, marked where it may be unknown."""
    text = TEXTS[DOCS / "policies.md"]
    for name, (_kind, _scope, may_be_unknown) in SCHEMA.items():
        assert f"`{name}`{'?' if may_be_unknown else ''}" in text, name


def test_log_events_are_documented() -> None:
    """The operations page has a row for each event that the code logs, and for no other."""
    known = set(rows("operations.md", "| event"))
    logged = {event for text in MODULES.values() for event in log_events(ast.parse(text))}
    assert known == logged | {"log lines dropped"}


def log_events(tree: ast.AST) -> Iterator[str]:
    """The events of calls such as ``log.info("event", …)``."""
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
            continue
        if call.func.attr in ("debug", "info", "warning", "error") and isinstance(
            call.args[0], ast.Constant
        ):
            logger = call.func.value
            name = logger.attr if isinstance(logger, ast.Attribute) else getattr(logger, "id", "")
            if name in ("log", "_log"):
                yield str(call.args[0].value)


def test_code_blocks_parse() -> None:
    """Python, JSON and YAML on the pages are Python, JSON and YAML."""
    for text in blocks("python"):
        ast.parse(textwrap.dedent(text))
    for text in blocks("json"):
        json.loads(text)
    for text in blocks("yaml"):
        yaml.safe_load(text)


def test_configurations_load(tmp_path: Path) -> None:
    """Each configuration file on a page is taken as it stands, every option of it known."""
    variables = {name: ProviderVariables("", "") for name in read_providers()}
    configurations = [text for text in blocks("yaml") if "database_url:" in text]
    assert len(configurations) > 1
    for text in configurations:
        path = tmp_path / "moegate.yaml"
        path.write_text(text, encoding="utf-8")
        settings = load_settings(environ={}, variables=variables, config=path)
        assert settings.database_url.startswith("postgresql+asyncpg://")


def test_make_targets_exist() -> None:
    """Every ``make …`` on a page is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    said = set(re.findall(r"`make ([a-z-]+)`", EVERYTHING))
    for text in blocks("sh", ""):
        said |= set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    assert said
    assert said <= targets


def commands(
    group: TyperGroup, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*words, name))
        else:
            assert isinstance(command, TyperCommand)
            yield (*words, name), command


def known_commands() -> dict[tuple[str, ...], TyperCommand]:
    """The command line, as its parser has it."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return dict(commands(root))


def find_command(words: list[str]) -> tuple[TyperCommand, list[str]] | None:
    """The command that ``words`` call, and what is left for it."""
    known = known_commands()
    for count in (2, 1):
        if tuple(words[:count]) in known:
            return known[tuple(words[:count])], words[count:]
    return None


EXAMPLES = sorted({line.strip() for text in blocks("sh", "") for line in SAID.findall(text)})


def test_examples_are_found() -> None:
    """The pages show commands, and they are recognised as such."""
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_are_taken_by_the_parser(line: str) -> None:
    """Each ``moegate …`` in a block of shell commands parses: options, values and what is needed."""
    found = find_command(shlex.split(line))
    assert found is not None
    command, rest = found
    command.make_context("moegate", rest)


def test_commands_in_the_text_exist() -> None:
    """Each `moegate …` within a sentence names a command, and only options that the command has."""
    said = set(re.findall(r"`moegate ([a-z][^`\n]*)`", EVERYTHING))
    assert len(said) > 5
    groups = {name[0] for name in known_commands()}
    for line in sorted(said):
        words = line.split()
        found = find_command(words)
        if found is None:
            assert words[0] in groups, line
            assert len(words) == 1 or "|" in words, line
            continue
        command, rest = found
        options = {option for one in command.params for option in one.opts} | {"--help"}
        for word in rest:
            option = word.strip("[]").partition("=")[0]
            assert not option.startswith("--") or option in options, line


def test_every_command_is_shown() -> None:
    """No command is left out: each appears on some page, each option of the simulator on its page."""
    for words in known_commands():
        name, *rest = words
        shown = rf"moegate {name} {rest[0]}" if rest else rf"moegate {name}\b"
        listed = rf"moegate {name} [a-z |]*\b{rest[0]}\b" if rest else shown
        assert re.search(f"{shown}|{listed}", EVERYTHING), words
    simulate = known_commands()["simulate",]
    options = {option for one in simulate.params for option in one.opts}
    assert set(rows("simulator.md", "| option")) == options


def test_changelog_names_the_version() -> None:
    """The newest entry of the changelog is the version that the project says it is."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = cast("re.Match[str]", re.search(r'^version = "([^"]+)"', project, re.MULTILINE))[1]
    entries = re.findall(r"^## \[([^\]]+)\]", TEXTS[ROOT / "CHANGELOG.md"], re.MULTILINE)
    assert entries[0] in (version, "Unreleased")
    assert version in entries
