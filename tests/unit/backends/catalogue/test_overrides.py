"""An administrator's catalogue file: what it may change, and how its mistakes are told."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.catalogue import Catalogue, CatalogueError, load_catalogue
from backends.pricing import bound_cost, find_price
from backends.target import Secret, SelfHosted, ServedModel, quality_of

SGLANG = SelfHosted("sglang", "sglang", ("http://10.0.0.1:30000",), (ServedModel("llama"),))


def load(tmp_path: Path, text: str, *on: str) -> Catalogue:
    path = tmp_path / "catalogue.yaml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(
        credentials={name: Secret(name) for name in on or ("openai", "gemini")},
        base_urls={},
        self_hosted=[SGLANG],
        overrides=path,
    )


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(CatalogueError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(tmp_path / "catalogue.yaml"), "FILE")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """Also one with comments only."""
    plain = load_catalogue(
        credentials={"openai": Secret("a"), "gemini": Secret("b")},
        base_urls={},
        self_hosted=[SGLANG],
    )
    assert load(tmp_path, "").version == plain.version
    assert load(tmp_path, "# nothing yet\n").version == plain.version


def test_a_price_of_a_server_at_home_makes_it_cost(tmp_path: Path) -> None:
    """Own GPUs may be charged for; a decimal of YAML is exact."""
    target = load(tmp_path, "targets: {sglang/llama: {price: {input: 0.075, output: '0.30'}}}").get(
        "sglang/llama"
    )
    assert not target.is_free
    assert target.prices[0].rates.input == 75_000_000
    assert target.prices[0].rates.output == 300_000_000


def test_what_will_cost_is_free_until_then(tmp_path: Path) -> None:
    """A server at home with a price from a day on is not refused, for want of one, before it."""
    text = "targets: {sglang/llama: {price: {input: 1, output: 2}, valid_from: 2027-01-01}}"
    target = load(tmp_path, text).get("sglang/llama")
    bounds = [
        bound_cost(target, input_tokens_max=10**6, images=0, output_tokens_max=0, at=at)
        for at in (
            datetime(2026, 12, 31, 22, tzinfo=UTC),
            datetime(2026, 12, 31, 23, 30, tzinfo=UTC),
        )
    ]
    assert bounds == [0, 10**9]


def test_free_must_be_said_in_a_word(tmp_path: Path) -> None:
    """A price of ``free`` costs nothing, any other word is a mistake."""
    said = load(tmp_path, "targets: {openai/gpt-5.5: {price: free}}").get("openai/gpt-5.5")
    assert said.is_free
    message = refusal(tmp_path, "targets: {openai/gpt-5.5: {price: gratis}}")
    assert message.endswith("a price is rates (`input`, `output`) or the word `free`, not `gratis`")


def test_a_dated_price_stands_beside_the_one_before(tmp_path: Path) -> None:
    """A day without a zone is UTC; until then and afterwards the usual price holds."""
    target = load(
        tmp_path,
        "targets:\n  openai/gpt-5.5:\n    price: {input: 1, output: 2}\n"
        "    valid_from: 2027-01-01\n    valid_until: 2027-02-01T00:00:00+01:00\n",
    ).get("openai/gpt-5.5")

    def input_rate(*day: int) -> int:
        price = find_price(target, datetime(*day, tzinfo=UTC))  # type: ignore[arg-type]  # three numbers
        assert price is not None
        return price.rates.input

    assert input_rate(2026, 12, 31) == 5 * 10**9
    assert input_rate(2027, 1, 1) == 10**9
    assert input_rate(2027, 1, 31, 22) == 10**9
    assert input_rate(2027, 1, 31, 23) == 5 * 10**9


def test_tiers_come_with_a_price(tmp_path: Path) -> None:
    """They are sorted by length; alone they say nothing."""
    text = (
        "targets: {openai/gpt-5.5: {price: {input: 1, output: 2}, tiers: ["
        "{above: 200000, input: 3, output: 3}, {above: 100000, input: 2, output: 2}]}}"
    )
    tiers = load(tmp_path, text).get("openai/gpt-5.5").prices[0].tiers
    assert [(tier.above_input_tokens, tier.rates.input // 10**9) for tier in tiers] == [
        (100_000, 2),
        (200_000, 3),
    ]
    alone = refusal(
        tmp_path, "targets: {openai/gpt-5.5: {tiers: [{above: 1, input: 1, output: 1}]}}"
    )
    assert "`targets.openai/gpt-5.5.tiers`: `tiers` needs a `price` with rates" in alone


@pytest.mark.parametrize(
    "said",
    [
        "valid_from: 2027-01-01",
        "valid_until: 2027-01-01",
        "tiers: [{above: 1, input: 1, output: 1}]",
        "windows: [{from: 1:00, until: 2:00, input: 1, output: 1}]",
    ],
)
def test_what_is_free_is_free_at_all_times(tmp_path: Path, said: str) -> None:
    """Nobody who writes when it begins to be free gets it for nothing until then."""
    name = said.partition(":")[0]
    message = refusal(tmp_path, f"targets: {{openai/gpt-5.5: {{price: free, {said}}}}}")
    assert f"`targets.openai/gpt-5.5.{name}`: `{name}` needs a `price` with rates" in message


def priced_by_hour(*windows: str) -> str:
    return (
        "targets:\n  openai/gpt-5.5:\n    price: {input: 4, output: 20}\n    windows:\n"
        + "".join(f"      - {{{one}, input: 1, output: 5}}\n" for one in windows)
    )


@pytest.mark.parametrize("hours", ["from: 16:30, until: 00:30", 'from: "16:30", until: "0:30"'])
def test_a_price_may_differ_by_the_hour(tmp_path: Path, hours: str) -> None:
    """Times as everybody writes them, though YAML would read some as numbers; over midnight too."""
    target = load(tmp_path, priced_by_hour(hours, "from: 2:00, until: 3:00")).get("openai/gpt-5.5")

    def input_rate(hour: int, minute: int) -> int:
        price = find_price(target, datetime(2026, 11, 23, hour, minute, tzinfo=UTC))
        assert price is not None
        return price.rates.input // 10**9

    times = [(16, 29), (16, 30), (23, 59), (0, 29), (0, 30), (2, 0), (3, 0)]
    assert [input_rate(*one) for one in times] == [4, 1, 1, 1, 4, 1, 4]


def test_a_price_may_differ_by_the_day_of_the_week(tmp_path: Path) -> None:
    """All of the weekend, and Friday's night until it begins; windows that abut do not overlap."""
    text = priced_by_hour(
        "days: [sun, sat], from: 00:00, until: 24:00", "days: [fri], from: 22:00, until: 00:00"
    )
    target = load(tmp_path, text).get("openai/gpt-5.5")

    def input_rate(day: int, hour: int) -> int:
        price = find_price(target, datetime(2026, 11, day, hour, tzinfo=UTC))
        assert price is not None
        return price.rates.input // 10**9

    friday, saturday, sunday, monday = 27, 28, 29, 30
    assert [input_rate(friday, 21), input_rate(friday, 22), input_rate(saturday, 0)] == [4, 1, 1]
    assert [input_rate(sunday, 23), input_rate(monday, 0), input_rate(monday, 22)] == [1, 4, 4]


def test_hours_have_tiers_of_their_own(tmp_path: Path) -> None:
    """Those of the price are not theirs."""
    text = (
        "targets: {openai/gpt-5.5: {price: {input: 4, output: 20}, tiers: [{above: 9, input: 8, "
        "output: 40}], windows: [{from: 1:00, until: 2:00, input: 1, output: 5, tiers: [{above: 5, "
        "input: 2, output: 10}]}, {from: 2:00, until: 3:00, input: 1, output: 5}]}}"
    )
    target = load(tmp_path, text).get("openai/gpt-5.5")

    def tiers(hour: int) -> list[tuple[int, int]]:
        price = find_price(target, datetime(2026, 11, 23, hour, tzinfo=UTC))
        assert price is not None
        return [(tier.above_input_tokens, tier.rates.input // 10**9) for tier in price.tiers]

    assert [tiers(0), tiers(1), tiers(2)] == [[(9, 8)], [(5, 2)], []]


@pytest.mark.parametrize(
    ("windows", "line", "message"),
    [
        (
            ["from: 16:30, until: 16:30"], 5,
            "[0]`: it ends when it begins; all day is `{from: 00:00, until: 24:00}`",
        ),
        (
            ["from: 16:30, until: 00:30", "from: 5:00, until: 6:00", "from: 0:29, until: 1:00"], 7,
            "[2]`: `windows[0]` holds too at tue 00:29 (UTC); only one may",
        ),
        (
            ["from: 9:00, until: 18:00", "days: [wed], from: 12:00, until: 13:00"], 6,
            "[1]`: `windows[0]` holds too at wed 12:00 (UTC); only one may",
        ),
        (
            ["days: [mon], from: 0:00, until: 1:00", "days: [sun], from: 23:00, until: 2:00"], 6,
            "[1]`: `windows[0]` holds too at mon 00:00 (UTC); only one may",
        ),
        (["from: 25:00, until: 26:00"], 5, "[0].from`: `25:00` is no time of the day: write `16:30`"),
        (["from: 24:00, until: 6:00"], 5, "[0].from`: a day begins at `00:00`"),
        (["from: 8, until: 18"], 5, "[0].from`: `8` is no time of the day: write `16:30`"),
        (["from: 8:00, until: 990"], 5, "[0].until`: `990` is no time of the day: write `16:30`"),
        (["from: 8:00, until: 9:5"], 5, "[0].until`: `9:5` is no time of the day: write `16:30`"),
        (["from: 8:00:00, until: 9:00"], 5, "[0].from`: `8:00:00` is no time of the day: write"),
        (["from: noon, until: 26:00"], 5, "[0].from`: `noon` is no time of the day: write `16:30`"),
        (["until: 16:30"], 5, "[0]`: Object missing required field `from`"),
        (["from: 1:00, until: 2:00, untli: 3:00"], 5, "[0].untli`: there is no such key: did you mean"),
        (["days: [monday], from: 1:00, until: 2:00"], 5, "[0].days[0]`: Invalid enum value 'monday'"),
        (["days: [], from: 1:00, until: 2:00"], 5, "[0].days`: Expected `array` of length >= 1"),
        (["days: [mon, mon], from: 1:00, until: 2:00"], 5, "[0].days`: a day is named twice"),
        (["from: 1:00, until: 2:00, cache_read: -1"], 5, "[0].cache_read`: `-1` is no price in USD"),
        (
            ["from: 1:00, until: 2:00, tiers: [{above: 1, input: x, output: 1}]"], 5,
            "[0].tiers[0].input`: `x` is no price in USD",
        ),
    ],
)  # fmt: skip
def test_hours_that_make_no_sense_are_refused(
    tmp_path: Path, windows: list[str], line: int, message: str
) -> None:
    """With the line and the member, and what would be right; a number is never guessed to be an hour."""
    expected = f"`FILE` line {line}, `targets.openai/gpt-5.5.windows{message}"
    assert refusal(tmp_path, priced_by_hour(*windows)).startswith(expected)


@pytest.mark.parametrize(
    ("said", "whole", "code"),
    [("0.7", 0.7, 0.7), ("{default: 0.6, code: 0.9}", 0.6, 0.9), ("{code: 0.9}", None, 0.9)],
)
def test_quality_may_be_said_by_task(
    tmp_path: Path, said: str, whole: float | None, code: float
) -> None:
    """What was not measured apart is as good as the whole, or nobody knows."""
    target = load(tmp_path, f"targets: {{openai/gpt-5.5: {{quality: {said}}}}}").get(
        "openai/gpt-5.5"
    )
    assert quality_of(target, "code") == code
    assert quality_of(target, "poems") == quality_of(target, None)
    assert quality_of(target, None) == (0.93 if whole is None else whole)


@pytest.mark.parametrize(
    "said",
    ["2", ".nan", "high", "[0.5]", "{}", "{code: 2}", "{code: high}", "{Write Code: 0.5}", "{1: 0.5}"],
)  # fmt: skip
def test_a_quality_that_is_none_is_refused_at_its_place(tmp_path: Path, said: str) -> None:
    """A number from 0 to 1; a task is a word that callers can name; nothing measured is nothing said."""
    assert (
        refusal(tmp_path, f"targets: {{openai/gpt-5.5: {{quality: {said}}}}}")
        == "`FILE` line 1, `targets.openai/gpt-5.5.quality`: a quality is a number from 0 to 1, or one for each task: "
        "`{default: 0.75, code: 0.82}`"
    )


def test_a_new_target_is_added_with_its_provider_s_address(tmp_path: Path) -> None:
    """A model that came out today can be used today."""
    catalogue = load(
        tmp_path,
        "targets:\n  mine:\n    provider: openai\n    model: gpt-7\n    context: 100\n    output: 10\n"
        "    can: [tools]\n    price: {input: 1, output: 1}\n    aliases: [seven]\n    auto: true\n",
    )
    target = catalogue.get("mine")
    assert catalogue.find("seven") == catalogue.find("gpt-7") == (target,)
    assert (target.endpoint, target.boundary, target.adapter) == ("openai", "external", "gpt")
    assert target.capabilities == {"tools"}
    assert target in catalogue.auto


def test_a_model_that_gives_vectors_needs_no_output(tmp_path: Path) -> None:
    """It has none; and a model that was taken for one that answers can be said to give vectors."""
    catalogue = load(
        tmp_path,
        "targets:\n  mine: {provider: openai, model: e, context: 100, can: [embed], price: {input: 1, output: 0}}\n",
    )
    target = catalogue.get("mine")
    assert (target.output_tokens_max, target.capabilities) == (0, {"embed"})


def test_the_pool_of_auto_can_be_changed(tmp_path: Path) -> None:
    """In and out, and what is disabled is gone altogether."""
    catalogue = load(
        tmp_path,
        "targets: {openai/gpt-5: {auto: true}, openai/gpt-5.5: {auto: false}}\n"
        "disable: [gemini/gemini-3.8-flash]\n",
    )
    names = {target.name for target in catalogue.auto}
    assert "openai/gpt-5" in names
    assert "openai/gpt-5.5" not in names
    assert catalogue.find("gemini/gemini-3.8-flash") == ()
    assert "gemini/gemini-3.8-flash" not in names


def test_a_provider_s_terms_are_those_of_the_contract(tmp_path: Path) -> None:
    """Said once for all of its targets; a target's own word is stronger."""
    catalogue = load(
        tmp_path,
        "providers: {gemini: {trains_on_inputs: false, retention_days: 0, region: eu}}\n"
        "targets: {gemini/gemini-3.8-flash: {region: us}}\n",
    )
    pro = catalogue.get("gemini/gemini-3.1-pro-preview")
    assert (pro.region, pro.retention_days, pro.trains_on_inputs) == ("eu", 0, False)
    assert catalogue.get("gemini/gemini-3.8-flash").region == "us"
    assert catalogue.get("openai/gpt-5.5").region == "us"


def test_what_is_away_or_off_may_be_spoken_of(tmp_path: Path) -> None:
    """One file serves machines with and without a key, and a start while the worker is down."""
    text = (
        "targets:\n  sglang-2/qwen: {price: {input: 1, output: 1}}\n"
        "  mistral/mistral-large-latest: {quality: 0.5}\n"
        "disable: [local-ollama/foo, anthropic/claude-opus-5-5]\n"
    )
    catalogue = load(tmp_path, text)
    assert catalogue.find("mistral/mistral-large-latest") == ()


@pytest.mark.parametrize("is_on", [False, True])
def test_new_target_waits_for_its_provider(tmp_path: Path, *, is_on: bool) -> None:
    """As what is said about the built-in ones does, whichever name it has."""
    text = (
        "targets:\n  mistral/new: {provider: mistral, model: new, context: 1, output: 1, auto: true}\n"
        "  own: {provider: mistral, model: own, context: 1, output: 1}\n"
        "  mistral/mistral-large-latest: {provider: mistral, quality: 0.5}\n"
    )
    catalogue = load(tmp_path, text, "mistral" if is_on else "openai")
    for name in ("mistral/new", "own", "mistral/mistral-large-latest"):
        assert len(catalogue.find(name)) == is_on


def test_example_of_the_page_serves_any_keys(tmp_path: Path) -> None:
    """Somebody copies it and starts, with one provider or another."""
    page = Path(__file__).resolve().parents[4] / "docs" / "catalogue.md"
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(load(tmp_path, text, "openai").find("gpt-next")) == 1
    assert load(tmp_path, text, "gemini").find("gpt-next") == ()


TARGET = "targets:\n  openai/gpt-5.5:\n    "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tragets: {}", "`FILE` line 1, `tragets`: there is no such key: did you mean `targets`?"),
        (
            TARGET + "contxt: 1",
            (
                "`FILE` line 3, `targets.openai/gpt-5.5.contxt`: there is no such key: "
                "did you mean `context`?"
            ),
        ),
        (
            TARGET + "price: {input: 1, outptu: 2}",
            (
                "`FILE` line 3, `targets.openai/gpt-5.5.price.outptu`: there is no such key: "
                "did you mean `output`?"
            ),
        ),
        (
            TARGET + "price: {input: 1, output: 1}\n    tiers: [{abov: 1, input: 1, output: 1}]",
            (
                "`FILE` line 4, `targets.openai/gpt-5.5.tiers[0].abov`: there is no such key: "
                "did you mean `above`?"
            ),
        ),
        (
            TARGET + "price: {input: 1}",
            "`FILE` line 3, `targets.openai/gpt-5.5.price`: Object missing required field `output`",
        ),
        (
            TARGET + "price: {input: -1, output: 1}",
            (
                "`FILE` line 3, `targets.openai/gpt-5.5.price.input`: `-1` is no price in USD per "
                "million tokens"
            ),
        ),
        (
            TARGET + "quality: 1.5",
            "`FILE` line 3, `targets.openai/gpt-5.5.quality`: a quality is a number from 0 to 1",
        ),
        (  # proofs take no time below none into account
            TARGET + "retention_days: -1",
            "`FILE` line 3, `targets.openai/gpt-5.5.retention_days`: Expected `int` >= 0",
        ),
        (
            TARGET + "can: [tols]",
            "`FILE` line 3, `targets.openai/gpt-5.5.can[0]`: Invalid enum value 'tols'",
        ),
        (
            TARGET + "region: us\n    region: eu",
            "`FILE` line 4, `targets.openai/gpt-5.5.region`: this is said twice",
        ),
        (
            TARGET + "provider: gemini",
            (
                "`FILE` line 3, `targets.openai/gpt-5.5.provider`: `openai/gpt-5.5` is at `openai`; "
                "choose another name for it"
            ),
        ),
        (
            "targets: {openai/gpt-5.4-nan: {quality: 0.1}}",
            (
                "`FILE` line 1, `targets.openai/gpt-5.4-nan`: `openai/gpt-5.4-nan` is new and needs "
                "`provider` and `model`: did you mean `openai/gpt-5.4-nano`?"
            ),
        ),
        (
            "targets: {mistral/mistral-larg: {quality: 0.1}}",
            (
                "`FILE` line 1, `targets.mistral/mistral-larg`: `mistral/mistral-larg` is new and needs "
                "`provider` and `model`"
            ),
        ),
        (
            "targets: {x: {provider: opnai, model: m, context: 1, output: 1}}",
            "`FILE` line 1, `targets.x.provider`: there is no provider `opnai`: did you mean `openai`?",
        ),
        (
            "targets: {x: {provider: mistral, model: m, context: 1, output: 1, price: cheap}}",
            (
                "`FILE` line 1, `targets.x.price`: a price is rates (`input`, `output`) or the word "
                "`free`, not `cheap`"
            ),
        ),
        (
            "targets: {x: {provider: mistral, model: m}}",
            "`FILE` line 1, `targets.x`: `x` is new and needs `context` and `output` (tokens)",
        ),
        (
            "targets: {x: {provider: openai, model: m}}",
            "`FILE` line 1, `targets.x`: `x` is new and needs `context` and `output` (tokens)",
        ),
        (
            "providers: {gemni: {region: eu}}",
            "`FILE` line 1, `providers.gemni`: there is no provider `gemni`: did you mean `gemini`?",
        ),
        (
            "disable:\n  - openai/gpt-5.5x",
            (
                "`FILE` line 2, `disable[0]`: `openai/gpt-5.5x` is no target: did you mean "
                "`openai/gpt-5.5`?"
            ),
        ),
        ("- a", "`FILE` line 1, `the document`: this must be a mapping"),
        ("targets: [a]", "`FILE` line 1, `targets`: this must be a mapping"),
        (
            "targets: {openai/gpt-5.5: 5}",
            "`FILE` line 1, `targets.openai/gpt-5.5`: Expected `object`, got `int`",
        ),
        (
            'targets: {"a\\r\\nx": {}}',
            "`FILE` line 1, `targets`: `a\\r\\nx` is no name: it has to stand in headers",
        ),
        (
            TARGET + "price: {input: 1, output: 1}\n    valid_from: soon",
            "`FILE` line 4, `targets.openai/gpt-5.5.valid_from`: Invalid RFC3339 encoded datetime",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    """File, line, path, what is wrong, and the nearest thing that would have been right."""
    assert refusal(tmp_path, text).startswith(message)


def test_a_file_that_is_not_there_or_not_yaml_is_named(tmp_path: Path) -> None:
    """Before anything else is looked at."""
    assert refusal(tmp_path, "a: [").startswith("`FILE` is not YAML: ")
    with pytest.raises(CatalogueError, match="cannot read the catalogue"):
        load_catalogue(credentials={}, base_urls={}, overrides=tmp_path / "none.yaml")


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    """YAML's tags for objects are refused."""
    assert "is not YAML" in refusal(tmp_path, "targets: !!python/object/apply:os.getcwd []")


def test_the_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    """Every YAML block of the page loads, and says what the page says that it does."""
    page = (Path(__file__).resolve().parents[4] / "docs" / "catalogue.md").read_text(
        encoding="utf-8"
    )
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        load(tmp_path, block)
    at_home = load(tmp_path, blocks[0]).get("sglang/llama")
    assert not at_home.is_free
