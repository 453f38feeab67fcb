"""Who is there: OpenAI-compatible servers that were named, and those listening on this machine.

Promises: every probe has a deadline, all run at once; only the loopback is looked at unasked; what does not
look like such a server is left alone. No prompt is ever sent by looking.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from backends.target import Endpoint, Engine, Secret, SelfHosted, ServedModel
from backends.transport import Transport, TransportError

PROBE_SECONDS = 0.4
NAMED_PROBE_SECONDS = 3.0
LOCAL_PORTS: tuple[tuple[Engine, int], ...] = (
    ("sglang", 30000),
    ("vllm", 8000),
    ("ollama", 11434),
    ("lmstudio", 1234),
)
"""Where these servers listen unless told otherwise (their documentation)."""
MODELS_MAX = 200

Get = Callable[[Endpoint, str, float], Awaitable[tuple[int, bytes]]]


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    owned_by: str = ""


class _Models(msgspec.Struct):
    data: list[_Model] = []


class _Info(msgspec.Struct):
    context_length: int | None = None
    max_total_num_tokens: int | None = None


def parse_models(body: bytes) -> tuple[ServedModel, ...]:
    """The models of a ``/v1/models`` answer; () if it is none."""
    try:
        said = msgspec.json.decode(body, type=_Models)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ()
    return tuple(
        ServedModel(model.id, model.max_model_len) for model in said.data[:MODELS_MAX] if model.id
    )


async def discover_named(
    get: Get, urls: Sequence[str], credential: Secret | None
) -> tuple[list[SelfHosted], list[str]]:
    """The workers at ``urls``, those that serve the same models put together; and the URLs that did not
    answer."""
    found = await asyncio.gather(
        *(_probe(get, "sglang", url, credential, NAMED_PROBE_SECONDS) for url in urls)
    )
    groups: dict[tuple[ServedModel, ...], list[str]] = {}
    missing: list[str] = []
    for url, models in zip(urls, found, strict=True):
        if models:
            groups.setdefault(models, []).append(_origin(url))
        else:
            missing.append(url)
    hosted = [
        SelfHosted(
            "sglang" if number == 0 else f"sglang-{number + 1}", "sglang", tuple(bases), models
        )
        for number, (models, bases) in enumerate(groups.items())
    ]
    return hosted, missing


async def discover_local(get: Get, taken: Sequence[str] = ()) -> list[SelfHosted]:
    """Servers listening on this machine, except at the origins in ``taken``."""
    origins = {_origin(url) for url in taken}
    candidates: list[tuple[Engine, str]] = [
        (engine, f"http://127.0.0.1:{port}")
        for engine, port in LOCAL_PORTS
        if f"http://127.0.0.1:{port}" not in origins and f"http://localhost:{port}" not in origins
    ]
    found = await asyncio.gather(
        *(_probe(get, engine, url, None, PROBE_SECONDS) for engine, url in candidates)
    )
    return [
        SelfHosted(f"local-{engine}", engine, (url,), models)
        for (engine, url), models in zip(candidates, found, strict=True)
        if models
    ]


async def _probe(
    get: Get, engine: Engine, url: str, credential: Secret | None, seconds: float
) -> tuple[ServedModel, ...]:
    endpoint = Endpoint(engine, (_origin(url),), credential)
    try:
        status, body = await get(endpoint, "/v1/models", seconds)
    except TransportError:
        return ()
    models = parse_models(body) if status == 200 else ()
    if not models or all(model.context_tokens_max is not None for model in models):
        return models
    context = await _find_context(get, endpoint, seconds) if engine == "sglang" else None
    return tuple(ServedModel(model.id, model.context_tokens_max or context) for model in models)


async def _find_context(get: Get, endpoint: Endpoint, seconds: float) -> int | None:
    """SGLang says its context in ``/get_server_info``, where ``/v1/models`` does not."""
    for path in ("/get_server_info", "/server_info"):
        try:
            status, body = await get(endpoint, path, seconds)
            if status == 200:
                info = msgspec.json.decode(body, type=_Info)
                return info.context_length or info.max_total_num_tokens
        except (TransportError, msgspec.DecodeError, UnicodeError):
            continue
    return None


def _origin(url: str) -> str:
    """``url`` without a trailing ``/v1``: base URLs are written both ways."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def probe_with(transport: Transport) -> Get:
    """The probe over the one transport."""

    async def get(endpoint: Endpoint, path: str, seconds: float) -> tuple[int, bytes]:
        return await transport.get(endpoint, path, seconds)

    return get
