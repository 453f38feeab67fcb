"""Looking for servers: real ones are found, whatever else listens is left alone and holds nothing up."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.sglang import discovery
from backends.sglang.discovery import (
    NAMED_PROBE_SECONDS,
    NamedWorkers,
    discover_local,
    discover_named,
    find_origin,
    parse_models,
    parse_remote,
    probe_with,
)
from backends.sglang.simulator import SimulatorSettings, build_simulator
from backends.target import Engine, Secret, ServedModel
from backends.transport import Transport
from tests.raw_host import Talk, answer, hang, listening
from tests.servers import find_free_port
from tests.sglang.asgi_server import serving

SLACK_SECONDS = 1.0
"""For a busy machine, on top of what is promised."""


def models_body(*ids: str, **more: object) -> bytes:
    listed = [{"id": name, "object": "model", **more} for name in ids]
    return json.dumps({"object": "list", "data": listed}).encode()


async def hang_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{"object":')
    await reader.read()


async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    for _ in range(1000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(64):
        writer.write(b" " * 1024 * 1024)
        await writer.drain()


async def speak_ssh(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")


async def redirect(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 302 Found\r\nlocation: /v2/models\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture
async def transport() -> AsyncGenerator[Transport]:
    """The real one."""
    transport = Transport()
    yield transport
    await transport.close()


def look_at(monkeypatch: pytest.MonkeyPatch, *ports: tuple[Engine, int]) -> None:
    monkeypatch.setattr(discovery, "LOCAL_PORTS", ports)


async def test_real_simulator_is_found_and_named_as_one(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SGLang's port, with its model and context; the name says that it is a simulator."""
    app = build_simulator(SimulatorSettings(model="tiny", context_tokens_max=4096))
    with serving(app) as url:
        look_at(monkeypatch, ("sglang", int(url.rpartition(":")[2])))
        (found,) = await discover_local(probe_with(transport))
        assert (found.name, found.engine) == ("local-simulator", "simulator")
        assert found.models == (ServedModel("tiny", 4096),)
        assert found.base_urls == (url,)
        assert await discover_local(probe_with(transport), [f"{url}/v1/"]) == []
        named = await discover_named(probe_with(transport), [f"{url}/v1"], None)
        assert named == {url: (ServedModel("tiny", 4096),)}


async def test_a_worker_says_that_it_gives_vectors(transport: Transport) -> None:
    """Whatever its model is called; and one that answers says so too."""
    for is_embedder, model in ((True, "plain-name"), (False, "embedding-like")):
        settings = SimulatorSettings(model=model, is_embedder=is_embedder)
        with serving(build_simulator(settings)) as url:
            named = await discover_named(probe_with(transport), [url], None)
        assert [one.is_embedder for one in named[url]] == [is_embedder]


@pytest.mark.parametrize(
    ("name", "is_embedder"),
    [
        ("nomic-embed-text:latest", True), ("BAAI/bge-m3", True), ("intfloat/e5-mistral-7b-instruct", True),
        ("Alibaba-NLP/gte-Qwen2-7B-instruct", True), ("all-minilm:latest", True), ("Qwen/Qwen3-Embedding-8B", True),
        ("llama3", False), ("Qwen/Qwen3-8B", False), ("gemma-3e5", False), ("agte-1", False),
    ],
)  # fmt: skip
def test_elsewhere_the_name_tells(name: str, is_embedder: bool) -> None:
    """Ollama, vLLM and LM Studio list both kinds alike."""
    (found,) = parse_models(models_body(name)).models
    assert found.is_embedder == is_embedder


@pytest.mark.parametrize(
    "talk",
    [
        hang, hang_in_the_body, trickle, flood, speak_ssh, redirect,
        answer(b"<!doctype html><title>dev server</title>", kind="text/html"),
        answer(b'{"data": [{"id": "1", "name": "somebody"}]}'),
        answer(b'{"object": "list", "data": {"id": "x"}}'),
        answer(b'{"object": "list", "data": []}'),
        answer(b"[" * 100_000),
        answer(b"\xff\xfe"),
        answer(b""),
        answer(models_body("model"), status="401 Unauthorized"),
        answer(models_body("two\r\nx-moegate-cost-usd: 0", "", " ", "x" * 1000)),
    ],
)  # fmt: skip
async def test_other_listeners_are_not_offered(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, talk: Talk
) -> None:
    """Web pages, other APIs, locked or broken ones, those that hang, drip or flood: none is a target."""
    async with listening(talk) as host:
        look_at(monkeypatch, ("vllm", host.port))
        started = time.monotonic()
        assert await discover_local(probe_with(transport)) == []
        assert time.monotonic() - started < discovery.PROBE_SECONDS + SLACK_SECONDS


async def test_ports_are_looked_at_side_by_side(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten ports that hang and one that answers take as long as one that hangs."""
    async with contextlib.AsyncExitStack() as stack:
        ports: list[tuple[Engine, int]] = [
            ("ollama", (await stack.enter_async_context(listening(hang))).port) for _ in range(10)
        ]
        good = await stack.enter_async_context(listening(answer(models_body("llama3:8b"))))
        look_at(monkeypatch, *ports, ("lmstudio", good.port), ("vllm", find_free_port()))
        started = time.monotonic()
        (found,) = await discover_local(probe_with(transport))
        assert time.monotonic() - started < discovery.PROBE_SECONDS + SLACK_SECONDS
    assert (found.name, found.models) == ("local-lmstudio", (ServedModel("llama3:8b"),))


async def test_context_is_asked_for_within_the_same_deadline(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that lists models and then hangs is taken as it is, in the time of one probe."""
    paths: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths.append(b"")
        if len(paths) > 1:
            await hang(reader, writer)
        await answer(models_body("m"))(reader, writer)

    async with listening(talk) as host:
        monkeypatch.setattr(discovery, "NAMED_PROBE_SECONDS", 0.3)
        url = host.url
        started = time.monotonic()
        assert await discover_named(probe_with(transport), [url], None) == {
            url: (ServedModel("m"),)
        }
        assert time.monotonic() - started < 0.3 + SLACK_SECONDS
    assert NAMED_PROBE_SECONDS < 5


async def test_credential_goes_to_named_workers_only(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever listens on this machine never sees the cluster's key."""
    async with listening(answer(models_body("m", max_model_len=5))) as host:
        look_at(monkeypatch, ("sglang", host.port))
        get = probe_with(transport)
        await discover_named(get, [host.url], Secret("cluster-key"))
        await discover_local(get)
    assert [b"cluster-key" in head for head in host.heads] == [True, True, False, False]


TAGS = json.dumps(
    {
        "models": [
            {"name": "llama3:8b", "model": "llama3:8b", "size": 5},
            {"name": "mine:latest", "remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"},
            {"name": "gpt-oss:120b-cloud", "remote_host": "https://ollama.com:443"},
        ]
    }
).encode()  # fmt: skip


@pytest.mark.parametrize("engine", ["ollama", "vllm", "sglang"])
@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        (answer(TAGS), ["llama3:8b"]),
        (answer(b"", status="404 Not Found"), ["llama3:8b", "mine:latest"]),
        (answer(b'{"error": "unexpected endpoint"}'), ["llama3:8b", "mine:latest"]),
        (hang, []),
    ],
    ids=["ollama", "not found", "something else", "hangs"],
)
async def test_model_that_runs_elsewhere_is_not_at_home(
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    engine: Engine,
    tags: Talk,
    kept: list[str],
) -> None:
    """Ollama offers its makers' models as its own: they are left out, by what it says or by their names."""
    listed = models_body("llama3:8b", "mine:latest", "gpt-oss:120b-cloud", "kimi-k2:cloud")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_tags = host.heads[-1].startswith(b"GET /api/tags")
        await (tags if is_tags else answer(listed))(reader, writer)

    async with listening(talk) as host:
        look_at(monkeypatch, (engine, host.port))
        found = await discover_local(probe_with(transport))
        assert [one.id for server in found for one in server.models] == kept


def test_lists_of_models_are_bounded_and_cleaned() -> None:
    """Too many models are cut off, contexts that cannot be are not believed."""
    found = parse_models(models_body(*[f"m{n}" for n in range(1000)], max_model_len=-5))
    assert len(found.models) == discovery.MODELS_MAX
    assert found.models[0].context_tokens_max is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    """Whatever listens there may say whatever it wants."""
    assert parse_models(body).models == ()
    assert parse_remote(body) == frozenset()


A, B, C = ("http://a", "http://b", "http://c")
M1, M2 = (ServedModel("one"),), (ServedModel("two"),)


def take(workers: NamedWorkers, *looks: tuple[ServedModel, ...]) -> Sequence[tuple[str, str]]:
    services, _ = workers.take(dict(zip((A, B, C), looks, strict=True)))
    return [(one.name, " ".join(one.base_urls)) for one in services]


def test_replicas_that_are_away_are_left_out_while_another_answers() -> None:
    """No request is sent to a dead replica; when nobody is left the service stays, away and not gone."""
    workers = NamedWorkers()
    assert take(workers, M1, M1, M1) == [("sglang", f"{A} {B} {C}")]
    assert take(workers, M1, (), M1) == [("sglang", f"{A} {C}")]
    assert take(workers, (), (), ()) == [("sglang", f"{A} {B} {C}")]
    assert take(workers, (), M1, ()) == [("sglang", B)]


def test_services_keep_their_names() -> None:
    """The first one's death does not hand its name to the second: names are what clients ask for."""
    workers = NamedWorkers()
    assert take(workers, M1, M2, ()) == [("sglang", A), ("sglang-2", B)]
    assert take(workers, (), M2, ()) == [("sglang", A), ("sglang-2", B)]
    assert take(workers, (), M2, M1) == [("sglang", C), ("sglang-2", B)]


def test_restart_with_another_model_takes_the_name_over() -> None:
    """A worker that now serves something else is the same service."""
    workers = NamedWorkers()
    take(workers, M1, M1, M1)
    assert take(workers, M2, M2, M2) == [("sglang", f"{A} {B} {C}")]


def test_workers_that_never_answered_are_told_apart() -> None:
    """Nobody knows yet what they serve."""
    services, unheard = NamedWorkers().take({A: M1, B: ()})
    assert [one.name for one in services] == ["sglang"]
    assert unheard == [B]


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_base_urls_are_written_both_ways(url: str) -> None:
    """With and without `/v1`."""
    assert find_origin(url) == "http://h:1"
