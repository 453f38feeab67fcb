"""The HTTP side of the simulator: the part of SGLang's surface that gateways use (0.5.23)."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Literal, TypeVar, cast

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from backends.sglang.simulator.embedder import (
    DIMENSIONS,
    EmbeddingRequest,
    embed,
    read_inputs,
)
from backends.sglang.simulator.engine import (
    TEMPLATE_TOKENS,
    Job,
    Load,
    PrefixCache,
    SimulatorSettings,
    cut,
    schema_text,
    tokenize,
    write_answer,
)

JSON = "application/json"
HEADERS = {"x-moegate-simulator": "true"}
VERSION = "moegate-simulator (protocol of sglang 0.5.23)"
DEFAULT_CAP = 512

Json = dict[str, object]
T = TypeVar("T")


class _Function(msgspec.Struct):
    name: str = ""
    parameters: object = None


class _Tool(msgspec.Struct):
    function: _Function


class _Choice(msgspec.Struct):
    function: _Function


class _Schema(msgspec.Struct):
    schema: object = None


class _Format(msgspec.Struct):
    type: str = "text"
    json_schema: _Schema | None = None


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, object]] | None = None
    tool_calls: list[dict[str, object]] | None = None


class _Chat(msgspec.Struct):
    messages: list[_Message]
    model: str = "default"
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    response_format: _Format | None = None


class _Completion(msgspec.Struct):
    prompt: str | list[str]
    model: str = "default"
    max_tokens: int | None = 16
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _Options | None = None


_CHAT = msgspec.json.Decoder(_Chat)
_COMPLETION = msgspec.json.Decoder(_Completion)
_EMBEDDING = msgspec.json.Decoder(EmbeddingRequest)


class _Refused(Exception):
    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def build_simulator(settings: SimulatorSettings) -> Starlette:
    """The ASGI application of one worker."""
    worker = Worker(settings)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", worker.chat, methods=["POST"]),
            Route("/v1/completions", worker.completions, methods=["POST"]),
            Route("/v1/embeddings", worker.embeddings, methods=["POST"]),
            Route("/v1/models", worker.models),
            Route("/v1/models/{model:path}", worker.model),
            Route("/v1/loads", worker.loads),
            Route("/health", worker.health),
            Route("/health_generate", worker.health),
            Route("/model_info", worker.model_info),
            Route("/get_model_info", worker.model_info),
            Route("/server_info", worker.server_info),
            Route("/get_server_info", worker.server_info),
            Route("/metrics", worker.metrics),
            Route("/flush_cache", worker.flush_cache, methods=["GET", "POST"]),
        ]
    )


class Worker:
    """One simulated worker."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._cache = PrefixCache(settings.kv_tokens)
        self._load = Load()

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        try:
            asked = _decode_chat(await request.body())
            self._check_kind(is_embedder=False)
            job = self._plan_chat(asked)
        except _Refused as refusal:
            return _error(str(refusal), refusal.status)
        head: Json = {"id": uuid.uuid4().hex, "created": int(time.time()), "model": asked.model}
        if asked.stream:
            wants_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            return _stream(self._chat_chunks(job, head, wants_usage=wants_usage))
        await self._wait_for_all(job, request)
        message: Json = {
            "role": "assistant",
            "content": "".join(job.answer),
            "reasoning_content": None,
        }
        finish: str = job.finish_reason
        if job.call is not None:
            message |= {"content": None, "tool_calls": [_call(job.call)]}
            finish = "tool_calls"
        choice = {
            "index": 0, "message": message, "logprobs": None, "finish_reason": finish,
            "matched_stop": job.matched_stop,
        }  # fmt: skip
        body: Json = {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(job),
                "metadata": _metadata(job)}  # fmt: skip
        return _json(body)

    async def completions(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        try:
            asked = _decode(_COMPLETION, await request.body())
            self._check_kind(is_embedder=False)
            text = asked.prompt if isinstance(asked.prompt, str) else "".join(asked.prompt)
            job = self._plan(tokenize(text), text, asked.max_tokens, asked.stop)
        except _Refused as refusal:
            return _error(str(refusal), refusal.status)
        head: Json = {"id": uuid.uuid4().hex, "object": "text_completion", "created": int(time.time()),
                "model": asked.model}  # fmt: skip
        if asked.stream:
            wants_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            return _stream(self._text_chunks(job, head, wants_usage=wants_usage))
        await self._wait_for_all(job, request)
        choice = {
            "index": 0, "text": "".join(job.answer), "logprobs": None,
            "finish_reason": job.finish_reason, "matched_stop": job.matched_stop,
        }  # fmt: skip
        body: Json = {**head, "choices": [choice], "usage": _usage(job), "metadata": _metadata(job)}
        return _json(body)

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``, of a worker that was started for them."""
        try:
            asked = _decode(_EMBEDDING, await request.body())
            self._check_kind(is_embedder=True)
            if asked.dimensions is not None and not 1 <= asked.dimensions <= DIMENSIONS:
                raise _Refused(f"dimensions must lie between 1 and {DIMENSIONS}.")
            inputs = [
                tokenize(one) if isinstance(one, str) else [str(number) for number in one]
                for one in read_inputs(asked)
            ]
            if not inputs or not all(inputs):
                raise _Refused("Input cannot be empty.")
            limit = self._settings.context_tokens_max
            longest = max(map(len, inputs))
            if longest > limit:
                raise _Refused(
                    f"The input ({longest} tokens) is longer than the model's context length ({limit} tokens)."
                )
        except _Refused as refusal:
            return _error(str(refusal), refusal.status)
        used = sum(map(len, inputs))
        self._load.requests += 1
        self._load.prompt_tokens += used
        data = [
            {"embedding": embed(tokens, asked.dimensions or DIMENSIONS), "index": at, "object": "embedding"}
            for at, tokens in enumerate(inputs)
        ]  # fmt: skip
        usage = {
            "prompt_tokens": used, "total_tokens": used, "completion_tokens": 0,
            "prompt_tokens_details": None,
        }  # fmt: skip
        return _json({"data": data, "model": asked.model, "object": "list", "usage": usage})

    def _check_kind(self, *, is_embedder: bool) -> None:
        if self._settings.is_embedder != is_embedder:
            words = "gives vectors only" if self._settings.is_embedder else "gives no vectors"
            raise _Refused(f"This simulated worker {words}.")

    def _plan_chat(self, asked: _Chat) -> Job:
        if not asked.messages:
            raise _Refused("Messages cannot be empty.")
        tokens: list[str] = []
        said = ""
        for message in asked.messages:
            text = _text_of(message)
            tokens += [f"<{message.role}>"] * TEMPLATE_TOKENS + tokenize(text)
            if message.role == "user":
                said = text
        cap = asked.max_completion_tokens or asked.max_tokens
        if asked.tools and not isinstance(asked.tool_choice, str | None):
            return self._plan_call(tokens, asked, asked.tool_choice.function.name)
        if asked.tools and asked.tool_choice == "required":
            return self._plan_call(tokens, asked, asked.tools[0].function.name)
        fixed = None
        if asked.response_format is not None and asked.response_format.type != "text":
            wanted = asked.response_format.json_schema
            fixed = schema_text(wanted.schema if wanted is not None else {})
        return self._plan(tokens, said, cap, asked.stop, fixed=fixed)

    def _plan_call(self, tokens: list[str], asked: _Chat, name: str) -> Job:
        tool = next(
            (tool.function for tool in asked.tools or () if tool.function.name == name), None
        )
        if tool is None:
            raise _Refused(f"Tool choice {name} is not among the tools.")
        job = self._plan(tokens, "", None, None, fixed=schema_text(tool.parameters))
        job.call = (name, "".join(job.answer))
        return job

    def _plan(
        self,
        tokens: list[str],
        said: str,
        cap: int | None,
        stop: str | list[str] | None,
        *,
        fixed: str | None = None,
    ) -> Job:
        limit = self._settings.context_tokens_max
        if len(tokens) >= limit:
            raise _Refused(
                f"The input ({len(tokens)} tokens) is longer than the model's context length ({limit} tokens)."
            )
        cached = self._cache.use(tokens)
        stops = [stop] if isinstance(stop, str) else stop or []
        text = fixed if fixed is not None else write_answer(len(tokens), cached, said)
        answer, reason, matched = cut(tokenize(text), cap or DEFAULT_CAP, stops)
        self._load.requests += 1
        self._load.prompt_tokens += len(tokens)
        self._load.cached_tokens += cached
        return Job(len(tokens), cached, answer, reason, matched)

    async def _first_token(self, job: Job) -> None:
        settings = self._settings
        seconds = settings.ttft_ms / 1000
        if settings.prefill_tokens_per_second > 0:
            seconds += (job.prompt_tokens - job.cached_tokens) / settings.prefill_tokens_per_second
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def _wait_for_all(self, job: Job, request: Request) -> None:
        """The time that a plain answer takes; a client that leaves ends it."""
        self._load.running += 1
        try:
            await self._first_token(job)
            seconds = self._settings.tpot_ms / 1000
            for _token in job.answer:
                if seconds > 0:
                    await asyncio.sleep(seconds)
                    if await request.is_disconnected():
                        self._load.aborted += 1
                        return
                job.used += 1
        finally:
            self._load.running -= 1
            self._load.generated_tokens += job.used

    async def _tokens(self, job: Job) -> AsyncIterator[str]:
        self._load.running += 1
        is_whole = False
        try:
            await self._first_token(job)
            for token in job.answer:
                job.used += 1
                yield token
                if self._settings.tpot_ms > 0:
                    await asyncio.sleep(self._settings.tpot_ms / 1000)
            is_whole = True
        finally:
            self._load.running -= 1
            self._load.aborted += not is_whole
            self._load.generated_tokens += job.used

    async def _chat_chunks(
        self, job: Job, head: Json, *, wants_usage: bool
    ) -> AsyncIterator[bytes]:
        head = {"id": head["id"], "object": "chat.completion.chunk", **head}
        first: Json = {"reasoning_content": None, "role": "assistant", "content": ""}
        yield _chunk(head, first, None)
        async for token in self._tokens(job):
            if job.call is None:
                yield _chunk(head, {"reasoning_content": None, "content": token}, None)
        finish = job.finish_reason
        if job.call is not None:
            call = {"index": 0, **_call(job.call)}
            yield _chunk(head, {"reasoning_content": None, "tool_calls": [call]}, None)
            finish = "tool_calls"
        yield _chunk(head, {"reasoning_content": None}, finish, job.matched_stop)
        if wants_usage:
            yield _event({**head, "choices": [], "usage": _usage(job)})
        yield b"data: [DONE]\n\n"

    async def _text_chunks(
        self, job: Job, head: Json, *, wants_usage: bool
    ) -> AsyncIterator[bytes]:
        async for token in self._tokens(job):
            choice: Json = {
                "index": 0,
                "text": token,
                "logprobs": None,
                "finish_reason": None,
                "matched_stop": None,
            }
            yield _event({**head, "choices": [choice], "usage": None})
        last: Json = {
            "index": 0, "text": "", "logprobs": None, "finish_reason": job.finish_reason,
            "matched_stop": job.matched_stop,
        }  # fmt: skip
        yield _event({**head, "choices": [last], "usage": None})
        if wants_usage:
            usage = _usage(job)
            # Streams of completions, and they alone, leave this member out (seen on 0.5.23).
            del usage["completion_tokens_details"]
            yield _event({**head, "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _card(self) -> Json:
        settings = self._settings
        return {
            "id": settings.model, "object": "model", "created": int(time.time()),
            "owned_by": "moegate-simulator", "root": settings.model, "parent": None,
            "max_model_len": settings.context_tokens_max,
        }  # fmt: skip

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``."""
        del request
        return _json({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/{model}``."""
        if request.path_params["model"] != self._settings.model:
            return _error(f"The model '{request.path_params['model']}' does not exist", 404)
        return _json(self._card())

    async def health(self, request: Request) -> Response:
        """``GET /health``: empty, 200."""
        del request
        return Response(b"", headers=HEADERS)

    async def model_info(self, request: Request) -> Response:
        """``GET /model_info``."""
        del request
        return _json({"model_path": self._settings.model, "is_generation": not self._settings.is_embedder, "preferred_sampling_params": None,
                      "weight_version": "default"})  # fmt: skip

    async def server_info(self, request: Request) -> Response:
        """``GET /server_info``."""
        del request
        settings = self._settings
        return _json(
            {
                "model_path": settings.model, "served_model_name": settings.model,
                # The flag a server was started with; what holds is max_model_len of /v1/models.
                "context_length": None,
                "max_total_num_tokens": settings.kv_tokens, "version": VERSION, "is_simulator": True,
            }
        )  # fmt: skip

    async def loads(self, request: Request) -> Response:
        """``GET /v1/loads``: the signals that replica choice reads."""
        del request
        held = self._cache.tokens
        one = {
            "dp_rank": 0, "num_running_reqs": self._load.running, "num_waiting_reqs": 0,
            "num_used_tokens": held, "max_total_num_tokens": self._settings.kv_tokens,
            "token_usage": round(held / max(1, self._settings.kv_tokens), 4),
            "cache_hit_rate": round(self._load.cached_tokens / max(1, self._load.prompt_tokens), 4),
        }  # fmt: skip
        now = datetime.now(UTC).isoformat()
        return _json({"timestamp": now, "version": VERSION, "loads": [one]})

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``: the counters under SGLang's names."""
        del request
        load, label = self._load, f'{{model_name="{self._settings.model}"}}'
        values = {
            "num_running_reqs": load.running, "num_queue_reqs": 0, "num_requests_total": load.requests,
            "num_aborted_requests_total": load.aborted, "prompt_tokens_total": load.prompt_tokens,
            "generation_tokens_total": load.generated_tokens, "cached_tokens_total": load.cached_tokens,
            "token_usage": self._cache.tokens / max(1, self._settings.kv_tokens),
        }  # fmt: skip
        lines = [
            f"# TYPE sglang:{name} {'counter' if name.endswith('_total') else 'gauge'}\nsglang:{name}{label} {float(value)}"
            for name, value in values.items()
        ]
        return Response(
            "\n".join(lines) + "\n", media_type="text/plain; version=0.0.4", headers=HEADERS
        )

    async def flush_cache(self, request: Request) -> Response:
        """``POST /flush_cache``."""
        del request
        self._cache.clear()
        return Response("Cache flushed.\n", media_type="text/plain", headers=HEADERS)


def _decode_chat(raw: bytes) -> _Chat:
    return _decode(_CHAT, raw)


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _Refused(f"Invalid request body: {error}") from error


def _text_of(message: _Message) -> str:
    if message.content is None:
        return "".join(str(call) for call in message.tool_calls or ())
    if isinstance(message.content, str):
        return message.content
    return "\n".join(
        cast("str", part["text"]) if isinstance(part.get("text"), str) else f"[{part.get('type')}]"
        for part in message.content
    )


def _call(call: tuple[str, str]) -> Json:
    name, arguments = call
    return {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _usage(job: Job) -> Json:
    return {
        "prompt_tokens": job.prompt_tokens,
        "total_tokens": job.prompt_tokens + job.used,
        "completion_tokens": job.used,
        "prompt_tokens_details": {"cached_tokens": job.cached_tokens},
        "reasoning_tokens": 0,
        "completion_tokens_details": None,
    }


def _metadata(job: Job) -> Json:
    versions = [{"version": "default", "start": 0, "end": job.used}]
    return {"weight_version": "default", "weight_versions": versions}


def _chunk(head: Json, delta: Json, finish: str | None, matched: str | None = None) -> bytes:
    choice = {
        "index": 0,
        "delta": delta,
        "logprobs": None,
        "finish_reason": finish,
        "matched_stop": matched,
    }
    return _event({**head, "choices": [choice]})


def _event(body: Json) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def _stream(chunks: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(chunks, media_type="text/event-stream", headers=HEADERS)


def _json(body: Json) -> Response:
    return Response(msgspec.json.encode(body), media_type=JSON, headers=HEADERS)


def _error(message: str, status: int) -> Response:
    kind = "NotFoundError" if status == 404 else "BadRequestError"
    body: Json = {
        "object": "error",
        "message": message,
        "type": kind,
        "param": None,
        "code": status,
    }
    return Response(msgspec.json.encode(body), status, media_type=JSON, headers=HEADERS)
