"""Who is there: OpenAI-compatible servers that were named, and those listening on this machine.

Promises: every probe has one deadline, all run at once; only the loopback is looked at unasked; what does
not look like such a server is left alone, and a simulator is called one; a model that a server here hands on to
another is none of ours. No prompt is ever sent by looking.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import msgspec

from backends.target import Endpoint, Engine, Secret, SelfHosted, ServedModel, is_plain_name
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
REMOTE_ENDINGS = ("-cloud", ":cloud")
"""How Ollama calls models that run in its makers' cloud (docs.ollama.com/cloud)."""
MODELS_MAX = 200
EMBEDDER_NAMES = re.compile(r"(?i)embed|(?:^|[/_.-])(?:bge|gte|e5|minilm|sbert)(?:[-_.:]|$)")
"""How models that give vectors are called, where a server does not say what its models are."""
SIMULATOR_OWNER = "moegate-simulator"
"""Who owns the models of our own simulator, as it says itself."""

Get = Callable[[Endpoint, str, float], Awaitable[tuple[int, bytes]]]


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    owned_by: str = ""


class _Models(msgspec.Struct):
    data: list[_Model]
    object: Literal["list"]


class _Tag(msgspec.Struct):
    """As in Ollama's ``api/types.go``, ``ListModelResponse``."""

    name: str = ""
    model: str = ""
    remote_host: str | None = None
    remote_model: str | None = None


class _Tags(msgspec.Struct):
    models: list[_Tag]


class _Info(msgspec.Struct):
    context_length: int | None = None
    max_total_num_tokens: int | None = None


class _Kind(msgspec.Struct):
    is_generation: bool | None = None


class _Found(msgspec.Struct, frozen=True):
    models: tuple[ServedModel, ...] = ()
    is_simulator: bool = False


_NOBODY = _Found()


def parse_models(body: bytes) -> _Found:
    """What a ``/v1/models`` answer lists; nothing if it is none.

    Names that are not plain printable text are left out: they would travel in headers and logs.
    """
    try:
        said = msgspec.json.decode(body, type=_Models)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _NOBODY
    listed = [model for model in said.data[:MODELS_MAX] if is_plain_name(model.id)]
    return _Found(
        tuple(
            ServedModel(
                model.id,
                _positive(model.max_model_len),
                EMBEDDER_NAMES.search(model.id) is not None,
            )
            for model in listed
        ),
        bool(listed) and all(model.owned_by == SIMULATOR_OWNER for model in listed),
    )


def parse_remote(body: bytes) -> frozenset[str]:
    """The names in a list of Ollama's whose models run elsewhere; none if it is no such list."""
    try:
        said = msgspec.json.decode(body, type=_Tags)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return frozenset()
    return frozenset(
        name
        for tag in said.models
        if tag.remote_host or tag.remote_model
        for name in (tag.name, tag.model)
    )


def _positive(tokens: int | None) -> int | None:
    return tokens if tokens is not None and tokens > 0 else None


async def discover_named(
    get: Get, urls: Sequence[str], credential: Secret | None
) -> dict[str, tuple[ServedModel, ...]]:
    """What the workers at ``urls`` serve, by origin in the order given; () for one that does not answer."""
    origins = list(dict.fromkeys(find_origin(url) for url in urls))
    found = await asyncio.gather(
        *(_probe(get, "sglang", origin, credential, NAMED_PROBE_SECONDS) for origin in origins)
    )
    return {origin: one.models for origin, one in zip(origins, found, strict=True)}


class NamedWorkers:
    """The workers that were named, over time: what each served when it last answered.

    INVARIANT: services keep their names for as long as any worker is known to serve their models.
    """

    def __init__(self) -> None:
        self._served: dict[str, tuple[ServedModel, ...]] = {}
        self._names: dict[tuple[ServedModel, ...], str] = {}

    def take(
        self, found: Mapping[str, tuple[ServedModel, ...]]
    ) -> tuple[list[SelfHosted], list[str]]:
        """Take up a look around: the services, and the origins of workers that never answered.

        Workers that serve the same models are replicas of one service; those that are away are left
        out of it while another answers. A service of which nobody answers stays: it is away, not gone.
        """
        self._served.update({origin: models for origin, models in found.items() if models})
        groups: dict[tuple[ServedModel, ...], list[str]] = {}
        for origin, models in self._served.items():
            groups.setdefault(models, []).append(origin)
        self._names = {models: name for models, name in self._names.items() if models in groups}
        services: list[SelfHosted] = []
        for models, origins in groups.items():
            alive = [origin for origin in origins if found.get(origin)]
            name = self._names.setdefault(models, self._free_name())
            services.append(SelfHosted(name, "sglang", tuple(alive or origins), models))
        return services, [origin for origin in found if origin not in self._served]

    def _free_name(self) -> str:
        taken, number = set(self._names.values()), 1
        while (name := "sglang" if number == 1 else f"sglang-{number}") in taken:
            number += 1
        return name


async def discover_local(get: Get, taken: Sequence[str] = ()) -> list[SelfHosted]:
    """Servers listening on this machine, except at the origins in ``taken``."""
    origins = {find_origin(url) for url in taken}
    candidates: list[tuple[Engine, str]] = [
        (engine, f"http://127.0.0.1:{port}")
        for engine, port in LOCAL_PORTS
        if f"http://127.0.0.1:{port}" not in origins and f"http://localhost:{port}" not in origins
    ]
    found = await asyncio.gather(
        *(_probe(get, engine, url, None, PROBE_SECONDS) for engine, url in candidates)
    )
    return [
        SelfHosted(f"local-{_engine(engine, one)}", _engine(engine, one), (url,), one.models)
        for (engine, url), one in zip(candidates, found, strict=True)
        if one.models
    ]


def _engine(listening: Engine, found: _Found) -> Engine:
    return "simulator" if found.is_simulator else listening


async def _probe(
    get: Get, engine: Engine, origin: str, credential: Secret | None, seconds: float
) -> _Found:
    """What answers at ``origin``, within ``seconds`` in all; nothing for whatever else may be there."""
    endpoint = Endpoint(engine, (origin,), credential)
    found = _NOBODY
    with contextlib.suppress(TransportError, TimeoutError):
        async with asyncio.timeout(seconds):
            status, body = await get(endpoint, "/v1/models", seconds)
            listed = parse_models(body) if status == 200 else _NOBODY
            if any(engine == "ollama" or ":" in one.id for one in listed.models):
                listed = await _without_remote(get, endpoint, seconds, listed)
            found = listed
            if engine == "sglang" and any(one.context_tokens_max is None for one in found.models):
                context = await _find_context(get, endpoint, seconds)
                models = tuple(
                    ServedModel(one.id, one.context_tokens_max or context, one.is_embedder)
                    for one in found.models
                )
                found = _Found(models, found.is_simulator)
            if engine == "sglang" and found.models:
                found = await _with_kind(get, endpoint, seconds, found)
    return found


async def _without_remote(get: Get, endpoint: Endpoint, seconds: float, listed: _Found) -> _Found:
    """``listed`` without the models that Ollama, if it is one, hands on to its makers' cloud.

    ``/v1/models`` shows no difference; ``/api/tags`` names where such a model runs. A server that has no
    ``/api/tags`` is judged by its models' names. Raises ``TransportError`` if nothing comes: who does not say
    what stays at home is not taken.
    """
    status, body = await get(endpoint, "/api/tags", seconds)
    remote = parse_remote(body) if status == 200 else frozenset[str]()
    models = tuple(
        one
        for one in listed.models
        if one.id not in remote and not one.id.lower().endswith(REMOTE_ENDINGS)
    )
    return _Found(models, listed.is_simulator)


async def _find_context(get: Get, endpoint: Endpoint, seconds: float) -> int | None:
    """SGLang says its context in ``/get_server_info``, where ``/v1/models`` does not."""
    for path in ("/get_server_info", "/server_info"):
        try:
            status, body = await get(endpoint, path, seconds)
            if status == 200:
                info = msgspec.json.decode(body, type=_Info)
                return _positive(info.context_length) or _positive(info.max_total_num_tokens)
        except (TransportError, msgspec.DecodeError, UnicodeError):
            continue
    return None


async def _with_kind(get: Get, endpoint: Endpoint, seconds: float, found: _Found) -> _Found:
    """``found`` with what SGLang says of its one model in ``/model_info``: whether it answers or gives vectors."""
    try:
        status, body = await get(endpoint, "/model_info", seconds)
        said = msgspec.json.decode(body, type=_Kind) if status == 200 else _Kind()
    except (TransportError, msgspec.DecodeError, UnicodeError):
        return found
    if said.is_generation is None:
        return found
    models = tuple(
        ServedModel(one.id, one.context_tokens_max, not said.is_generation) for one in found.models
    )
    return _Found(models, found.is_simulator)


def find_origin(url: str) -> str:
    """``url`` without a trailing ``/v1``: base URLs are written both ways."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def probe_with(transport: Transport) -> Get:
    """The probe over the one transport."""

    async def get(endpoint: Endpoint, path: str, seconds: float) -> tuple[int, bytes]:
        return await transport.get(endpoint, path, seconds)

    return get
