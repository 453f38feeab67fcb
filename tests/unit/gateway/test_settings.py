"""Options from file, environment and command line: read exactly, or refused with the place."""

from pathlib import Path

import pytest

from gateway.errors import StartError
from gateway.settings import ProviderVariables, Settings, load_settings

VARIABLES = {"openai": ProviderVariables("OPENAI_API_KEY", "OPENAI_BASE_URL")}


def load(environ: dict[str, str], config: Path | None = None, **overrides: object) -> Settings:
    return load_settings(
        environ={"MOEGATE_HOME": "/state"} | environ, variables=VARIABLES, config=config, overrides=overrides
    )  # fmt: skip


def refusal(environ: dict[str, str], config: Path | None = None, **overrides: object) -> str:
    with pytest.raises(StartError) as caught:
        load(environ, config, **overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    """The later word wins, option by option."""
    file = tmp_path / "moegate.yaml"
    file.write_text("port: 1\nhost: filehost\nlog_level: debug\n")
    found = load(
        {"MOEGATE_HOST": "envhost", "MOEGATE_LOG_LEVEL": "error"}, file, log_level="warning"
    )
    assert (found.port, found.host, found.log_level) == (1, "envhost", "warning")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MOEGATE_REDIS", "`MOEGATE_REDIS_URL`"),
        ("MOEGATE_DATABSE_URL", "`MOEGATE_DATABASE_URL`"),
        ("MOEGATE_DATABSE_URL_FILE", "unknown variable"),
        ("MOEGATE_", "unknown variable"),
    ],
)
def test_misspelt_variable_is_refused(name: str, hint: str) -> None:
    """It would leave a default in force, such as budgets that each process counts for itself."""
    assert hint in refusal({name: "x"})


def test_variables_that_others_set_are_left_alone() -> None:
    """Compose, a client's key, and what Kubernetes puts beside a service called moegate."""
    names = ("MOEGATE_KEY", "MOEGATE_SECRETS", "MOEGATE_PULL", "MOEGATE_SERVICE_HOST",
             "MOEGATE_SERVICE_PORT_HTTP", "MOEGATE_PORT_8080_TCP_ADDR", "MOEGATE_TEST_REDIS_URL")  # fmt: skip
    assert load(dict.fromkeys(names, "x")).port == 8080


def test_kubernetes_own_variable_is_told_apart_from_a_port() -> None:
    """A service called moegate sets ``MOEGATE_PORT`` to an address."""
    assert "enableServiceLinks" in refusal({"MOEGATE_PORT": "tcp://10.0.0.1:8080"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOEGATE_PORT", "0"), ("MOEGATE_PORT", "65536"), ("MOEGATE_PORT", "80.5"), ("MOEGATE_WORKERS", "0"),
        ("MOEGATE_REQUEST_TIMEOUT_SECONDS", "nan"), ("MOEGATE_REQUEST_TIMEOUT_SECONDS", "inf"),
        ("MOEGATE_BODY_BYTES_MAX", "-1"), ("MOEGATE_DISCOVER", "perhaps"), ("MOEGATE_SIMULATOR", "maybe"),
        ("MOEGATE_LOG_LEVEL", "loud"),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(name: str, value: str) -> None:
    """With the option, or the variable, and what was said."""
    said = refusal({name: value})
    assert value in said
    assert name.removeprefix("MOEGATE_").lower() in said


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("postgres://u:p@db/m", "postgresql+asyncpg://u:p@db/m"),
        ("postgresql://db/m?sslmode=require", "postgresql+asyncpg://db/m?ssl=require"),
        (
            "postgresql://db/m?a=1&sslmode=verify-full",
            "postgresql+asyncpg://db/m?a=1&ssl=verify-full",
        ),
        ("postgresql+asyncpg://db/m", "postgresql+asyncpg://db/m"),
        ("sqlite:////data/a.db", "sqlite+aiosqlite:////data/a.db"),
        ("", "sqlite+aiosqlite:////state/moegate.db"),
    ],
)
def test_database_urls_are_taken_as_everybody_writes_them(said: str, meant: str) -> None:
    """The driver is our affair; libpq's `sslmode` is known too."""
    assert load({"MOEGATE_DATABASE_URL": said}).database_url == meant


@pytest.mark.parametrize("name", ["SGLANG_URLS", "OPENAI_BASE_URL"])
@pytest.mark.parametrize(
    "url",
    ["gpu-1:30000", "gpu-1", "10.0.0.1:30000", "ftp://gpu-1", "http://", "http://gpu-1:99999"],
)
def test_urls_that_cannot_be_called_are_refused(name: str, url: str, tmp_path: Path) -> None:
    """With the variable, or the place in the file, and what was said."""
    wanted = "needs a base URL with `http://` or `https://`, such as `https://host/v1`"
    assert refusal({name: url}) == f"`{name}` {wanted}, not `{url}`"
    file = tmp_path / "moegate.yaml"
    file.write_text(f"sglang_urls: ['http://gpu-1:30000', '{url}']\n")
    assert refusal({}, file).startswith(f"`sglang_urls in {file}` needs")
    file.write_text(f"providers: {{openai: {{base_url: '{url}'}}}}\n")
    assert refusal({}, file).startswith(f"`providers.openai.base_url in {file}` needs")


def test_urls_are_taken_with_spaces_and_slashes() -> None:
    """As people write lists."""
    found = load({"SGLANG_URLS": "http://gpu-1:30000/, https://gpu-2/v1,", "OPENAI_BASE_URL": "http://proxy/v1/"})  # fmt: skip
    assert found.sglang_urls == ("http://gpu-1:30000", "https://gpu-2/v1")
    assert found.providers["openai"].base_url == "http://proxy/v1"


def test_several_workers_need_redis() -> None:
    """Each would have a budget of its own."""
    assert "MOEGATE_REDIS_URL" in refusal({"MOEGATE_WORKERS": "2"})
    assert load({"MOEGATE_WORKERS": "2", "MOEGATE_REDIS_URL": "redis://r"}).workers == 2


def test_secrets_come_from_files_and_stay_hidden(tmp_path: Path) -> None:
    """A mounted file holds them; no repr shows them."""
    (tmp_path / "key").write_text("sk-very-secret\n")
    found = load(
        {"OPENAI_API_KEY_FILE": str(tmp_path / "key"), "MOEGATE_MASTER_KEY": "master-secret"}
    )
    key = found.providers["openai"].api_key
    assert key is not None
    assert key.reveal() == "sk-very-secret"
    assert "very-secret" not in repr(found)
    assert "master-secret" not in repr(found)
    assert "`MOEGATE_MASTER_KEY_FILE`" in refusal(
        {"MOEGATE_MASTER_KEY_FILE": str(tmp_path / "none")}
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("portt: 1", "did you mean `port`?"), ("[1]", "mapping"), ("a: [", "not YAML"),
        ("providers: {opnai: {api_key: k}}", "did you mean `openai`?"),
        ("providers: {openai: {key: k}}", "`providers.openai.key`"), ("providers: [1]", "mapping"),
        ("port: true", "whole number"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    """Unknown options name the nearest known one."""
    file = tmp_path / "moegate.yaml"
    file.write_text(text)
    said = refusal({}, file)
    assert words in said
    assert str(file) in said


@pytest.mark.parametrize(("word", "meant"), [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_yaml_may_read_words_as_truth_values(tmp_path: Path, word: str, meant: str) -> None:
    """`simulator: on` without quotes is a boolean to YAML, and still meant as the word."""
    file = tmp_path / "moegate.yaml"
    file.write_text(f"simulator: {word}\n")
    assert load({}, file).simulator == meant
