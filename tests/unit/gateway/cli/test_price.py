"""``moegate price`` and ``moegate catalogue``: exact bills from any provider's usage object."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.errors import StartError

OPENAI_USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 50,
    "total_tokens": 1_050,
    "prompt_tokens_details": {"cached_tokens": 400},
}


def run(*arguments: str, stdin: object = None) -> Result:
    text = stdin if isinstance(stdin, str) else json.dumps(stdin)
    return CliRunner().invoke(app, arguments, input=text)


def bill(model: str, usage: object, *more: str) -> tuple[int, dict[str, tuple[int, int]]]:
    """Nano-dollars, and tokens and rate of each line."""
    result = run("price", "--model", model, "--usage", "-", "--json", *more, stdin=usage)
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    lines = {one["name"]: (one["tokens"], one["nanousd_per_mtok"]) for one in said["lines"]}
    return said["nano_usd"], lines


def refusal(*arguments: str, stdin: object = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert isinstance(result.exception, StartError)
    return str(result.exception)


def test_openai_s_cached_tokens_are_inside_its_prompt_tokens() -> None:
    """600 at 2, 400 at 0.2, 50 at 10 USD per million."""
    nanousd, lines = bill("gpt-6-sol", OPENAI_USAGE)
    assert nanousd == 1_200_000 + 80_000 + 500_000
    assert lines["cache_read"] == (400, 200_000_000)


def test_openai_s_newer_words_mean_the_same() -> None:
    """The Responses format names the same counts otherwise."""
    usage = {
        "input_tokens": 1_000,
        "output_tokens": 50,
        "total_tokens": 1_050,
        "input_tokens_details": {"cached_tokens": 400},
        "output_tokens_details": {"reasoning_tokens": 20},
    }
    assert bill("gpt-6-sol", usage) == bill("gpt-6-sol", OPENAI_USAGE)


def test_anthropic_s_cached_tokens_stand_beside_its_input_tokens() -> None:
    """Reads, five-minute writes and one-hour writes each at their rate."""
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 107,
        "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 3,
    }
    nanousd, lines = bill("claude-opus-5-5", usage)
    assert nanousd == 10 * 4_000 + 5 * 200 + 7 * 5_000 + 100 * 8_000 + 3 * 20_000
    assert set(lines) == {"input", "cache_read", "cache_write", "cache_write_1h", "output"}


def test_gemini_s_thoughts_are_output_and_a_long_prompt_is_dearer() -> None:
    """Above 200,000 tokens everything costs the higher rates, and thinking is billed as output."""
    usage = {
        "promptTokenCount": 250_000,
        "cachedContentTokenCount": 1_000,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 100,
    }
    nanousd, lines = bill("gemini-3.1-pro-preview", {"usageMetadata": usage})
    assert nanousd == 249_000 * 4_000 + 1_000 * 400 + 110 * 18_000
    assert lines["output"] == (110, 18_000_000_000)


def test_a_whole_answer_may_be_given_in_a_file(tmp_path: Path) -> None:
    """Its ``usage`` is what is priced."""
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"id": "x", "choices": [], "usage": OPENAI_USAGE}))
    result = run("price", "--model", "openai/gpt-6-sol", "--usage", str(path))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "openai/gpt-6-sol: 0.001780000 USD"


def test_our_own_usage_is_taken_as_it_stands() -> None:
    """As the accounts export it."""
    usage = {"input_tokens": 100, "output_tokens": 10, "cache_write_1h_tokens": 50}
    assert bill("claude-opus-5-5", usage)[0] == 50 * 4_000 + 50 * 8_000 + 10 * 20_000


def test_a_price_depends_on_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of one's own announces a price; before its day the old one holds."""
    path = tmp_path / "prices.yaml"
    path.write_text(
        "targets: {openai/gpt-6-sol: {price: {input: 1, output: 1}, valid_from: 2027-01-01}}"
    )
    monkeypatch.setenv("MOEGATE_CATALOGUE", str(path))
    usage = {"prompt_tokens": 1_000, "completion_tokens": 0}
    assert bill("gpt-6-sol", usage, "--at", "2026-12-31T23:59:59")[0] == 2_000_000
    assert bill("gpt-6-sol", usage, "--at", "2027-01-01T00:00:00Z")[0] == 1_000_000


def test_a_price_depends_on_the_hour() -> None:
    """DeepSeek's, in and out of its peak hours; a zone is minded, and at the weekend all hours are cheap."""
    usage = {"prompt_tokens": 1_000, "completion_tokens": 0}
    model = "deepseek/deepseek-v4-pro"
    assert bill(model, usage, "--at", "2026-11-27T03:59:59")[0] == 1_320_000
    assert bill(model, usage, "--at", "2026-11-27T04:00:00")[0] == 660_000
    assert bill(model, usage, "--at", "2026-11-27T11:59:59+08:00")[0] == 1_320_000
    assert bill(model, usage, "--at", "2026-11-28T03:59:59")[0] == 660_000


def test_the_catalogue_tells_prices_by_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a word in its line, whole in JSON, with what holds now beside it."""
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    lines = run("catalogue").output.splitlines()
    assert {line.split()[1] for line in lines if "by hour" in line} == {
        f"deepseek/deepseek-{name}"
        for name in ("flash", "v4-flash", "v4-flash-vision-exp", "v4-pro")
    }
    rows = {row["model"]: row for row in json.loads(run("catalogue", "--json").output)}
    (price,) = rows["deepseek-v4-pro"]["prices"]
    weekend = price["windows"][-1]
    assert (weekend["days"], weekend["start_minute"], weekend["end_minute"]) == (
        ["sat", "sun"],
        0,
        1440,
    )
    held = rows["deepseek-v4-pro"]["price"]
    assert held["rates"] in (price["rates"], weekend["rates"])
    assert held["windows"] == []


def test_a_regional_address_is_priced_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bill is that of the address that the settings name."""
    usage = {"prompt_tokens": 1_000, "completion_tokens": 0}
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    assert bill("gpt-6-sol", usage)[0] == 2_200_000


def test_an_unknown_model_is_an_error_with_the_nearest_name() -> None:
    """Nothing is priced by resemblance."""
    message = refusal("price", "--model", "gpt-6-so", "--usage", "-", stdin=OPENAI_USAGE)
    assert message == "the catalogue has no model `gpt-6-so`: did you mean `gpt-6-sol`?"
    elsewhere = refusal(
        "price", "--model", "gpt-6-sol", "--provider", "gemini", "--usage", "-", stdin=OPENAI_USAGE
    )
    assert elsewhere == "`gemini` does not have `gpt-6-sol`; it is at `openai`"


def test_what_is_free_at_home_costs_nothing() -> None:
    """The catalogue lists the simulator, so it can be priced."""
    assert bill("moegate-simulator", OPENAI_USAGE)[0] == 0


def test_a_model_at_two_hosts_must_be_told_apart() -> None:
    """Their prices differ."""
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    path = ("price", "--usage", "-", "--model")
    names = {"zai-glm-5-3": "mistral", "gpt-oss-120b": "cerebras"}
    for model, provider in names.items():
        assert run(*path, model, "--provider", provider, stdin=usage).exit_code == 0


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        ("[", "this is no usage object"),
        ("[]", "this is no usage object"),
        ("{}", "this usage object"),
        ('{"tokens": 5}', "nobody's words"),
        ('{"prompt_tokens": "many"}', "this is no usage object"),
        ('{"input_tokens": 5, "cache_read_tokens": 6}', "negative counts"),
    ],
)
def test_what_is_no_usage_is_an_error(usage: str, message: str) -> None:
    """Never a bill of zero."""
    assert message in refusal("price", "--model", "gpt-6-sol", "--usage", "-", stdin=usage)


def test_bad_times_and_files_are_named(tmp_path: Path) -> None:
    """In one line."""
    late = ("price", "--model", "gpt", "--usage", "-", "--at", "tomorrow")
    assert refusal(*late, stdin=OPENAI_USAGE) == "`tomorrow` is no time in ISO 8601"
    missing = str(tmp_path / "none")
    assert refusal("price", "--model", "gpt", "--usage", missing).startswith("cannot read")


def test_the_catalogue_shows_what_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator at first; with a key its provider; with --all everybody, marked."""
    (only,) = run("catalogue").output.splitlines()
    assert only.split()[:2] == ["on", "simulator/moegate-simulator"]
    monkeypatch.setenv("ANTHROPIC_API_KEY", "very-secret-key")
    rows = json.loads(run("catalogue", "--json").output)
    assert {row["provider"] for row in rows} == {"anthropic"}
    shown = run("catalogue", "--all", "--json").output
    everyone = json.loads(shown)
    assert {row["provider"] for row in everyone if row["is_on"]} == {"anthropic"}
    assert {"openai", "gemini"} <= {row["provider"] for row in everyone if not row["is_on"]}
    opus = next(row for row in rows if row["model"] == "claude-opus-5-5")
    assert opus["price"]["rates"]["cache_write_1h"] == 8 * 10**9
    assert opus["capabilities"] == sorted(opus["capabilities"])
    assert "very-secret-key" not in shown


def test_the_catalogue_is_a_line_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, context, price, region, capabilities."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    lines = run("catalogue").output.splitlines()
    (opus,) = (line for line in lines if "/claude-opus-5-5 " in line)
    assert opus.split()[:4] == ["on", "anthropic/claude-opus-5-5", "1000000", "tokens"]
    assert "4 in, 20 out" in opus
    (haiku,) = (line for line in lines if "/claude-haiku-5-5 " in line)
    assert "by length" in haiku
