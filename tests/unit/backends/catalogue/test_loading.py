"""Who is in the catalogue, under which names and addresses."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from backends.catalogue import (
    Catalogue,
    CatalogueError,
    check_url,
    find_hosts,
    load_catalogue,
    read_models,
    read_providers,
)
from backends.pricing import find_price
from backends.target import Endpoint, Secret, SelfHosted, ServedModel, Target

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = Secret("key")
LLAMA = ServedModel("llama", 8_192)
SGLANG = SelfHosted(
    "sglang", "sglang", ("http://10.0.0.1:30000", "http://10.0.0.2:30000"), (LLAMA,)
)


def load(*names: str, self_hosted: Sequence[SelfHosted] = (), **base_urls: str) -> Catalogue:
    return load_catalogue(
        credentials=dict.fromkeys(names, KEY),
        base_urls=base_urls,
        self_hosted=self_hosted,
        self_hosted_credential=Secret("sglang key"),
    )


def test_without_keys_there_is_nobody() -> None:
    """A provider is in only when it was switched on."""
    empty = load()
    assert empty.targets == ()
    assert empty.auto == ()
    assert empty.endpoints == {}
    assert empty.find("openai/gpt-5.5") == ()


def test_a_key_switches_on_one_provider_and_no_other() -> None:
    """Its targets have its address and key; the others are not there."""
    catalogue = load("anthropic")
    assert {target.provider for target in catalogue.targets} == {"anthropic"}
    endpoint = catalogue.endpoints["anthropic"]
    assert endpoint.base_urls == ("https://api.anthropic.com",)
    assert endpoint.credential == KEY
    assert "key" not in repr(endpoint.credential)


def test_a_base_url_alone_switches_a_provider_on() -> None:
    """A proxy of one's own may need no key."""
    catalogue = load(openai="http://127.0.0.1:9/v1/")
    assert catalogue.endpoints["openai"] == Endpoint("openai", ("http://127.0.0.1:9/v1",))


def test_a_model_is_found_by_name_model_and_alias() -> None:
    """Three words, one target; an unknown word finds nothing."""
    catalogue = load("anthropic", "openai")
    name = "anthropic/claude-opus-5-5"
    wanted = (catalogue.get(name),)
    assert catalogue.find(name) == wanted
    assert catalogue.find("claude-opus-5-5") == wanted
    assert catalogue.find("claude-opus") == wanted
    assert catalogue.find("claude-opus-55") == ()
    with pytest.raises(KeyError):
        catalogue.get("claude-opus-5-5")


def test_built_in_hosts_of_a_model_are_known_on_or_off() -> None:
    """By the words that find its targets once they are on."""
    (host,) = find_hosts("claude-opus-5-5")
    assert host == ("anthropic", "ANTHROPIC_API_KEY")
    assert find_hosts("anthropic/claude-opus-5-5") == find_hosts("claude-opus") == (host,)
    assert find_hosts("claude-opus-55") == ()


def test_a_model_at_several_hosts_is_found_at_all_of_them() -> None:
    """The policy chooses among them."""
    catalogue = load(
        self_hosted=[SGLANG, SelfHosted("ollama", "ollama", ("http://h:1",), (LLAMA,))]
    )
    assert [target.name for target in catalogue.find("llama")] == ["sglang/llama", "ollama/llama"]


def test_servers_at_home_stay_at_home_and_are_free() -> None:
    """Boundary, terms and price are said, not guessed; what the server said of its context is kept."""
    catalogue = load(self_hosted=[SGLANG])
    target = catalogue.get("sglang/llama")
    assert (target.boundary, target.region, target.adapter) == ("self_hosted", "home", "sglang")
    assert target.is_free
    assert (target.retention_days, target.trains_on_inputs) == (0, False)
    assert target.context_tokens_max == 8_192
    assert catalogue.endpoints["sglang"].base_urls == SGLANG.base_urls
    assert catalogue.auto == (target,)


def test_a_server_at_home_that_gives_vectors_is_not_in_auto() -> None:
    """It can do nothing else, and `auto` would find it for a chat."""
    models = (LLAMA, ServedModel("bge", 512, is_embedder=True))
    catalogue = load(self_hosted=[SelfHosted("ollama", "ollama", ("http://h:1",), models)])
    target = catalogue.get("ollama/bge")
    assert (target.capabilities, target.output_tokens_max) == ({"embed"}, 0)
    assert [one.name for one in catalogue.auto] == ["ollama/llama"]


def test_two_services_of_one_name_keep_their_own_addresses() -> None:
    """Neither may answer for the other, and none may take a provider's name."""
    named = [
        SelfHosted(name, "vllm", (f"http://127.0.0.1:{port}",), (LLAMA,))
        for port, name in enumerate(("sglang", "sglang", "openai", "mistral"), start=1)
    ]
    catalogue = load("openai", self_hosted=named)
    homes = [one for one in catalogue.targets if one.boundary == "self_hosted"]
    addresses = [catalogue.endpoints[one.endpoint].base_urls[0] for one in homes]
    assert addresses == [f"http://127.0.0.1:{port}" for port in (1, 2, 3, 4)]
    outside = catalogue.get("openai/gpt-5.5")
    assert catalogue.endpoints[outside.endpoint].base_urls == ("https://api.openai.com/v1",)


def test_the_key_of_the_cluster_goes_only_to_servers_that_were_named() -> None:
    """Whatever listens on this machine does not learn it."""
    found = [
        SGLANG,
        SelfHosted("local-sglang", "sglang", ("http://127.0.0.1:30000",), (LLAMA,)),
        SelfHosted("local-ollama", "ollama", ("http://127.0.0.1:11434",), (LLAMA,)),
        SelfHosted("simulator", "simulator", ("http://127.0.0.1:5",), (LLAMA,)),
    ]
    endpoints = load(self_hosted=found).endpoints
    with_key = [name for name, endpoint in endpoints.items() if endpoint.credential is not None]
    assert with_key == ["sglang"]


def test_auto_is_the_pool_of_what_is_on_and_everything_at_home() -> None:
    """Each main provider brings three or four, with a quality; dated twins stay out."""
    catalogue = load("openai", "anthropic", "gemini", self_hosted=[SGLANG])
    by_provider: dict[str, list[Target]] = {}
    for target in catalogue.auto:
        by_provider.setdefault(target.provider, []).append(target)
    assert {name: len(pool) for name, pool in by_provider.items()} == {
        "openai": 4,
        "anthropic": 3,
        "gemini": 3,
        "sglang": 1,
    }
    for name in ("openai", "anthropic", "gemini"):
        pool = sorted(by_provider[name], key=lambda one: one.quality or 0)
        prices = [target.prices[0].rates.output for target in pool]
        assert prices[0] == min(prices)


def test_an_eu_host_of_openai_is_in_the_eu_and_costs_a_tenth_more() -> None:
    """Region and price follow the address that is called."""
    usual = load("openai").get("openai/gpt-6-sol")
    there = load("openai", openai="https://eu.api.openai.com/v1").get("openai/gpt-6-sol")
    assert (usual.region, there.region) == ("us", "eu")
    assert there.prices[0].rates.output * 10 == usual.prices[0].rates.output * 11
    assert there.prices[0].tiers[0].rates.input * 10 == usual.prices[0].tiers[0].rates.input * 11


def test_the_version_follows_the_content() -> None:
    """Equal content, equal version; another price or pool, another version; keys do not count."""
    first, again = (
        load("openai"),
        load_catalogue(credentials={"openai": Secret("other")}, base_urls={}),
    )
    assert first.version == again.version
    assert first.version != load("openai", "gemini").version
    assert first.version != load("openai", openai="https://eu.api.openai.com/v1").version
    pool = [target.name for target in first.auto]
    smaller = Catalogue(first.targets, first.endpoints, pool[1:])
    assert smaller.version != first.version


def test_a_catalogue_refuses_targets_that_nobody_serves_and_names_taken_twice() -> None:
    """What routing relies on is checked where it is made."""
    catalogue = load("openai")
    target = catalogue.get("openai/gpt-5.5")
    with pytest.raises(CatalogueError, match="two targets are called"):
        Catalogue([target, target], catalogue.endpoints, ())
    with pytest.raises(CatalogueError, match="has no endpoint"):
        Catalogue([target], {}, ())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com",
        "ftp://h/v1",
        "http://",
        "https://h?x=1",
        "https://h/#a",
        "http://h:0",
        "http://h:x",
    ],
)
def test_a_base_url_must_be_one(url: str) -> None:
    """Anything else is refused at start with the provider's name."""
    with pytest.raises(CatalogueError, match="`openai` needs a base URL"):
        check_url(url, "openai")


def test_a_password_in_a_base_url_is_refused_without_showing_it() -> None:
    """It would stand in every log line of a failed call."""
    with pytest.raises(CatalogueError, match="its key") as caught:
        check_url("https://user:hunter2@host/v1", "openai")
    assert "hunter2" not in str(caught.value)


def test_every_provider_has_distinct_variables_and_known_pools() -> None:
    """The data hold together: pool and aliases name models that are there, no alias hides a model."""
    providers = read_providers()
    variables = [
        v for one in providers.values() for v in (one.api_key_variable, one.base_url_variable)
    ]
    assert len(set(variables)) == len(variables)
    assert providers["openai"].base_url_variable == "OPENAI_BASE_URL"
    assert providers["anthropic"].base_url_variable == "ANTHROPIC_BASE_URL"
    assert providers["gemini"].base_url_variable == "GOOGLE_GEMINI_BASE_URL"
    for name, provider in providers.items():
        models = read_models(name).models
        assert {*provider.auto, *provider.aliases.values()} <= models.keys(), name
        assert not provider.aliases.keys() & models.keys(), name
        has_terms = (
            provider.terms.retention_days is not None or provider.terms.trains_on_inputs is not None
        )
        assert has_terms == (provider.terms.source is not None), name


def test_every_built_in_target_can_be_bounded_and_is_never_free() -> None:
    """Everybody switched on: known positive prices with their source, limits, capabilities."""
    catalogue = load(*read_providers())
    assert len(catalogue.targets) > 200
    for target in catalogue.targets:
        (price,) = target.prices
        assert not target.is_free
        assert price.rates.input > 0, target.name
        if "embed" in target.capabilities:
            assert (target.capabilities, target.output_tokens_max) == ({"embed"}, 0)
            assert price.rates.output == 0
        else:
            assert price.rates.output > 0, target.name
        assert "LiteLLM's price map" in price.source
        assert target.boundary == "external"
        thresholds = [tier.above_input_tokens for tier in price.tiers]
        assert thresholds == sorted(set(thresholds))


@pytest.mark.parametrize(
    ("model", "usual"),
    [("deepseek-v4-pro", (1_320, 44, 3_960)), ("deepseek-flash", (300, 6, 1_200))],
)
def test_deepseek_is_dear_in_its_peak_hours_alone(model: str, usual: tuple[int, int, int]) -> None:
    """Its price page in November 2026: 01:00 to 04:00 and 06:00 to 10:00 UTC, Monday to Friday; else half of it."""
    target = load("deepseek").get(f"deepseek/{model}")
    for quarter in range(7 * 24 * 4):
        at = NOW + timedelta(minutes=quarter * 15)
        price = find_price(target, at)
        assert price is not None
        is_peak = at.weekday() < 5 and (1 <= at.hour < 4 or 6 <= at.hour < 10)
        rates = (price.rates.input, price.rates.cache_read or 0, price.rates.output)
        assert rates == tuple(one * 10**6 // (1 if is_peak else 2) for one in usual), at


def test_loading_the_catalogue_takes_little_cpu() -> None:
    """The three main providers within 50 ms of CPU in a fresh process, imports apart: start-up is short.

    Measured 8 to 12 ms; the best of three counts, since other work shares the machine.
    """
    program = (
        "import time\n"
        "from backends.catalogue import load_catalogue\n"
        "from backends.target import Secret\n"
        "keys = dict.fromkeys(('openai', 'anthropic', 'gemini'), Secret('k'))\n"
        "start = time.process_time()\n"
        "load_catalogue(credentials=keys, base_urls={})\n"
        "print(time.process_time() - start)\n"
    )
    seconds = [
        float(
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
        )
        for _ in range(3)
    ]
    assert min(seconds) < 0.05
