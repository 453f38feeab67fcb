"""Derive ``backends/data/models/*.yaml`` from LiteLLM's price map: what, how dear, how long, from where.

    .venv/bin/python tools/build_catalogue.py

Reads the map out of the installed wheel without importing it. Left out, each with a count on standard
error: what neither chats nor gives vectors, what has no price (or zero, which is a gap more often than a
gift), what has no limits, and what is priced in a way that a price here cannot say exactly. Of hosts whose
entries are mostly guesses by model size only what cites its source is taken.
"""

import json
import re
import sys
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import yaml

DATA = Path("backends/data")
MAP = "model_prices_and_context_window_backup.json"
NOT_CHAT = re.compile(
    r"audio|tts|search|deep-research|computer-use|realtime|robotics|lyria|transcribe|image|container|"
    r"live|omni|daybreak|cyber|rosalind|learnlm|exp-\d|guard|embed|rerank|ocr|moderation|^ft:"
)
CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_vision": "images",
    "supports_audio_input": "audio",
    "supports_pdf_input": "documents",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
}
NEEDS_SOURCE = frozenset({"fireworks_ai"})
"""Hosts of whose entries most cite no page and are priced by model size: 208 of 315."""
LEFT_OUT = {
    # Half of its entries differ from the host's own list (BerriAI/litellm issue 39501).
    "openrouter": "doubtful in the map",
    "perplexity": "charged by the request besides",
}
FULL_NAMES = {"fireworks_ai": "accounts/"}
"""Where the map has short names too, which the host does not know."""
RATES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
UPLIFTS = ("regional_processing_uplift_multiplier_eu", "regional_processing_uplift_multiplier_us")
PER_MILLION = Decimal(10**6)

Entry = dict[str, object]


class Unusable(Exception):
    """Why an entry is left out."""


def main() -> None:
    """Write every provider's file."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        sys.exit("build_catalogue: litellm is not installed; run `make setup`")
    text = (Path(spec.origin).parent / MAP).read_text(encoding="utf-8")
    known: dict[str, Entry] = json.loads(text, parse_float=Decimal)
    providers = yaml.safe_load((DATA / "providers.yaml").read_text(encoding="utf-8"))
    for name, provider in providers.items():
        models: dict[str, object] = {}
        left_out: Counter[str] = Counter()
        for key, entry in sorted(known.items()):
            if entry.get("litellm_provider") != provider["map"]:
                continue
            model = key.removeprefix(f"{provider['map']}/").removeprefix(f"{name}/")
            try:
                check_host(name, model, entry)
                is_embedder = entry.get("mode") == "embedding"
                make = describe_embedder if is_embedder else describe
                models.setdefault(model, make(model, entry))
            except Unusable as reason:
                left_out[str(reason)] += 1
        write(name, models)
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        sys.stderr.write(f"{name}: {len(models)} models; left out: {reasons or 'none'}\n")


def check_host(provider: str, model: str, entry: Entry) -> None:
    """Raises :class:`Unusable` for what the host at hand makes doubtful."""
    if provider in LEFT_OUT:
        raise Unusable(LEFT_OUT[provider])
    if provider in NEEDS_SOURCE and not entry.get("source"):
        raise Unusable("without a source")
    if not model.startswith(FULL_NAMES.get(provider, "")):
        raise Unusable("short names")


def describe(model: str, entry: Entry) -> Entry:
    """One model's data. Raises :class:`Unusable`."""
    endpoints = entry.get("supported_endpoints")
    if entry.get("mode") != "chat" or NOT_CHAT.search(model):
        raise Unusable("no chat model")
    if isinstance(endpoints, list) and "/v1/chat/completions" not in endpoints:
        raise Unusable("not on the chat endpoint")
    retired = entry.get("deprecation_date")
    if isinstance(retired, str) and retired <= today():
        raise Unusable("retired")
    context, output = entry.get("max_input_tokens"), entry.get("max_output_tokens")
    if not isinstance(context, int) or not isinstance(output, int):
        raise Unusable("without limits")
    base = rates(entry, "")
    if not base.get("input") or not base.get("output"):
        raise Unusable("without a price")
    thinking = entry.get("output_cost_per_reasoning_token")
    if thinking is not None and thinking != entry.get("output_cost_per_token"):
        raise Unusable("with thinking priced apart")
    if "tiered_pricing" in entry:
        raise Unusable("with ranges of prices")
    described: Entry = {"context": context, "output": output}
    described["can"] = capabilities(entry)
    described["price"] = shown(base)
    described |= special(entry, base)
    uplifts = {str(entry[key]) for key in UPLIFTS if key in entry}
    if len(uplifts) > 1:
        raise Unusable("with several regional uplifts")
    if uplifts:
        described["regional"] = uplifts.pop()
    return described


def describe_embedder(model: str, entry: Entry) -> Entry:
    """A model that gives vectors: its context is that of one text. Raises :class:`Unusable`.

    Texts only, so that what other media cost beside them does not matter.
    """
    retired = entry.get("deprecation_date")
    if isinstance(retired, str) and retired <= today():
        raise Unusable("retired")
    if "multimodal" in model or model.startswith("ft:"):
        raise Unusable("no model for texts")
    context = entry.get("max_input_tokens")
    if not isinstance(context, int):
        raise Unusable("without limits")
    base = rates(entry, "")
    if not base.get("input"):
        raise Unusable("without a price")
    if base.get("output"):
        raise Unusable("with a price for output")
    price = {"input": base["input"], "output": Decimal(0)}
    return {"context": context, "output": 0, "can": ["embed"], "price": shown(price)}


def capabilities(entry: Entry) -> list[str]:
    """Our words for what the model takes; audio only where it costs what text does."""
    found = {word for key, word in CAPABILITIES.items() if entry.get(key)}
    for key in ("input_cost_per_audio_token", "input_cost_per_audio_per_second"):
        if entry.get(key, entry.get("input_cost_per_token")) != entry.get("input_cost_per_token"):
            found.discard("audio")
    return sorted(found)


def today() -> str:
    """The day in UTC, as the map writes days."""
    return datetime.now(UTC).date().isoformat()


def rates(entry: Entry, suffix: str) -> dict[str, Decimal]:
    """USD per million tokens by our words, of the keys that end in ``suffix``."""
    found: dict[str, Decimal] = {}
    for word, key in RATES.items():
        value = entry.get(key + suffix)
        if isinstance(value, Decimal | int) and (value or word in ("input", "output")):
            found[word] = Decimal(value) * PER_MILLION  # a cache for nothing is a gap: input's rate
    return found


def thresholds(entry: Entry) -> set[tuple[str, int]]:
    """``("200k", 200000)`` for every prompt length above which the price changes."""
    found: set[tuple[str, int]] = set()
    for key in entry:
        if match := re.fullmatch(r"(?:in|out)put_cost_per_token_above_((\d+)k)_tokens", key):
            found.add((match[1], int(match[2]) * 1000))
    return found


def special(entry: Entry, base: dict[str, Decimal]) -> Entry:
    """Prices by length and by the hour, where there are any. Raises :class:`Unusable`."""
    tiers = [
        {"above": threshold, **shown(base | rates(entry, f"_above_{label}_tokens"))}
        for label, threshold in sorted(thresholds(entry), key=lambda pair: pair[1])
    ]
    found: Entry = {"tiers": tiers} if tiers else {}
    if "off_peak_pricing" in entry:
        if tiers:
            raise Unusable("with prices by length and by the hour")
        found["windows"] = windows(entry["off_peak_pricing"], base)
    return found


def windows(said: object, base: dict[str, Decimal]) -> list[Entry]:
    """The hours that have other prices. Raises :class:`Unusable` for what the map says in yet another way.

    LiteLLM takes a rule's weekdays for those of the moment itself, in UTC where no zone is named; windows here
    take them for those on which they begin. So none is left to go over midnight.
    """
    if not isinstance(said, dict) or not said.keys() <= {"windows", "hours_utc", *RATES.values()}:
        raise Unusable("with hours that cannot be said here")
    price = shown(base | rates(said, ""))
    rules = [*said.get("windows", ()), *([said] if "hours_utc" in said else ())]
    found: list[Entry] = []
    for rule in rules:
        hours = rule["hours_utc"]
        numbers = rule.get("weekdays", ())
        for one in [hours] if isinstance(hours, str) else hours:
            for begin, end in within_a_day(*one.split("-")):
                when: Entry = {"from": begin, "until": end}
                days: Entry = {"days": [WEEKDAYS[number - 1] for number in numbers]}
                found.append(when | (days if numbers else {}) | price)
    return found


def within_a_day(begin: str, end: str) -> list[tuple[str, str]]:
    """``begin`` until ``end``, cut at midnight; all day if they are the same."""
    if begin < end:
        return [(begin, end)]
    parts = [(begin, "24:00"), ("00:00", end)]
    return [part for part in parts if part[0] != part[1]]


def shown(values: dict[str, Decimal]) -> dict[str, str]:
    """Exact decimals as text: YAML has only floats of its own."""
    return {word: format(value.normalize(), "f") for word, value in values.items()}


def write(name: str, models: dict[str, object]) -> None:
    """One provider's file, with its source and date."""
    head = (
        "# Made by tools/build_catalogue.py: do not edit. USD per million tokens as exact text; tiers hold "
        "for the\n# whole request once its input is longer.\n"
    )
    source = f"LiteLLM's price map {version('litellm')} (MIT), read {today()}"
    content = {"source": source, "models": models}
    body = yaml.safe_dump(content, sort_keys=True, default_flow_style=None, width=110)
    (DATA / "models").mkdir(exist_ok=True)
    (DATA / "models" / f"{name}.yaml").write_text(head + body, encoding="utf-8")


if __name__ == "__main__":
    main()
