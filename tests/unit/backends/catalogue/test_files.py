"""The built-in data: exact prices, and the facts that were published about them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.catalogue.files import (
    CatalogueError,
    PriceData,
    TierData,
    WindowData,
    make_price,
    nanousd_per_mtok,
    read_models,
    read_providers,
)

NANO = 10**9


@given(st.integers(0, 10**15))
def test_a_decimal_price_is_exact(nanousd: int) -> None:
    """Every whole number of nano-dollars per million tokens survives its text in USD."""
    assert nanousd_per_mtok(format(Decimal(nanousd) / NANO, "f")) == nanousd


@given(st.decimals(min_value=0, max_value=1000, places=6, allow_nan=False))
def test_a_float_of_yaml_means_what_was_written(usd: Decimal) -> None:
    """Six places of a price up to a thousand dollars: no binary rest shows."""
    assert nanousd_per_mtok(float(usd)) == usd * NANO


@pytest.mark.parametrize(
    "usd",
    [
        "",
        "a",
        "nan",
        "inf",
        "1e999999",
        "1e-999999",
        "1000001",
        float("inf"),
        "0.0000000001",
        "-1",
        -0.5,
    ],
)
def test_what_is_no_price_is_refused(usd: str | float) -> None:
    """Not a number, negative, or finer than a nano-dollar: the error knows the place."""
    with pytest.raises(CatalogueError, match="price") as refused:
        nanousd_per_mtok(usd, ("tiers", 0, "input"))
    assert refused.value.place == ("tiers", 0, "input")


def test_two_tiers_at_one_length_are_refused() -> None:
    """Which one holds would depend on their order."""
    tier = TierData(above=5, input="1", output="1")
    with pytest.raises(CatalogueError, match="another tier begins above 5 tokens too") as refused:
        make_price(PriceData("1", "1"), (tier, tier), "here")
    assert refused.value.place == ("tiers", 1)


def test_a_regional_factor_is_that_of_every_rate() -> None:
    """Of tiers, of windows and of their tiers too."""
    tier = TierData(above=5, input="20", output="20")
    hours = WindowData(input="10", output="10", start="1:00", until="2:00", tiers=(tier,))
    price = make_price(PriceData("10", "10"), (tier,), "here", "1.1", (hours,))
    (window,) = price.windows
    assert {price.rates.input, window.rates.input} == {11 * NANO}
    assert {price.tiers[0].rates.input, window.tiers[0].rates.output} == {22 * NANO}


# USD per million tokens as the providers' price pages had them in November 2026 (input, cache read, cache
# write 5 min, 1 h, output), then the same above the threshold.
PUBLISHED: tuple[tuple[str, str, tuple[str | None, ...], int, tuple[str | None, ...]], ...] = (
    ("anthropic", "claude-opus-5-5", ("4", "0.2", "5", "8", "20"), 0, ()),
    ("anthropic", "claude-sonnet-5-5", ("2", "0.1", "2.5", "4", "10"), 0, ()),
    (
        "anthropic",
        "claude-haiku-5-5",
        ("0.1", "0.01", "0.125", "0.2", "0.5"),
        100_000,
        ("0.5", "0.05", "0.625", "1", "2.5"),
    ),
    (
        "openai",
        "gpt-6-sol",
        ("2", "0.2", "2.5", None, "10"),
        272_000,
        ("4", "0.4", "5", None, "15"),
    ),
    (
        "gemini",
        "gemini-3.1-pro-preview",
        ("2", "0.2", None, None, "12"),
        200_000,
        ("4", "0.4", None, None, "18"),
    ),
    ("gemini", "gemini-3.8-flash", ("0.75", "0.075", None, None, "3.75"), 0, ()),
    ("deepseek", "deepseek-v4-pro", ("1.32", "0.044", None, None, "3.96"), 0, ()),
    ("deepseek", "deepseek-flash", ("0.3", "0.006", None, None, "1.2"), 0, ()),
    ("fireworks_ai", "accounts/fireworks/models/kimi-k3", ("3", "0.3", None, None, "15"), 0, ()),
)


@pytest.mark.parametrize(("provider", "model", "base", "above", "longer"), PUBLISHED)
def test_prices_are_those_that_were_published(
    provider: str,
    model: str,
    base: tuple[str | None, ...],
    above: int,
    longer: tuple[str | None, ...],
) -> None:
    """What the map says agrees with the providers' own pages, tiers and cache classes included."""
    said = read_models(provider).models[model]
    assert said.price is not None

    def rates(price: PriceData) -> tuple[object, ...]:
        return (
            price.input,
            price.cache_read,
            price.cache_write,
            price.cache_write_1h,
            price.output,
        )

    assert rates(said.price) == base
    assert [(tier.above, rates(tier)) for tier in said.tiers] == (
        [(above, longer)] if above else []
    )


def test_audio_is_taken_only_where_it_costs_what_text_does() -> None:
    """A class of tokens that no rate here covers would break every bound."""
    models = read_models("gemini").models
    assert "audio" in models["gemini-3.1-pro-preview"].can
    assert "audio" not in models["gemini-2.5-flash"].can


def test_images_are_bounded_by_model() -> None:
    """The last pattern that fits counts; a host that says nothing has the largest known."""
    providers = read_providers()
    openai = providers["openai"]
    assert openai.image_tokens_max("gpt-5.5") == 10_000
    assert openai.image_tokens_max("gpt-5.4-nano") == 24_600
    assert openai.image_tokens_max("gpt-4o-mini-2024-07-18") == 2_833 + 8 * 5_667
    assert providers["gemini"].image_tokens_max("gemini-3.8-flash") == 2_400
    assert providers["gemini"].image_tokens_max("gemini-2.5-flash") >= 2_580  # one recorded image
    assert providers["groq"].image_tokens_max("any") == 16_384
