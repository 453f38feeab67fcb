"""Every other provider, through LiteLLM's request and answer transforms and nothing else of it.

Promises: LiteLLM is imported only when a target of the long tail is used (it costs seconds and 190 MB),
never calls out by itself (no price map from the network, no callbacks, no client of its own: the bytes
leave through :mod:`backends.transport`), and what it does not carry is listed.
"""

import importlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

import orjson

from backends.adapter import Outbound
from backends.target import Endpoint, Target
from backends.wire.events import CallDelta, CallStart, End, Event, Finish, Start, TextDelta
from backends.wire.failure import Failure, WireError, invalid_request
from backends.wire.openai_chat import read_error
from backends.wire.openai_chat.passing import FINISH_REASONS
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Json, Prompt
from backends.wire.relay import TranslatingRelay, fold_answer
from backends.wire.sse import SseReader
from backends.wire.usage import Usage

if TYPE_CHECKING:
    from types import ModuleType

import msgspec

EVENT_BYTES_MAX = 16 * 1024 * 1024
WHOLE_ADDRESS: Mapping[str, str] = {"cohere": "/v2/chat"}
"""Providers whose transform takes the address as given: the path that belongs to it."""
LITELLM_NAMES: Mapping[str, str] = {"cohere": "cohere_chat"}
NOT_PARAMETERS = frozenset({"model", "messages", "stream", "stream_options"})

Params = dict[str, Json]


class _Config(Protocol):
    """The part of LiteLLM's provider configurations that is used here."""

    def get_supported_openai_params(self, model: str) -> list[str]: ...
    def map_openai_params(
        self, *, non_default_params: Params, optional_params: Params, model: str, drop_params: bool
    ) -> Params: ...
    def validate_environment(
        self, *, headers: dict[str, str], model: str, messages: Json, optional_params: Params,
        litellm_params: Params, api_key: str | None, api_base: str | None,
    ) -> dict[str, str]: ...  # fmt: skip
    def get_complete_url(
        self, *, api_base: str | None, api_key: str | None, model: str, optional_params: Params,
        litellm_params: Params, stream: bool | None,
    ) -> str: ...  # fmt: skip
    def transform_request(
        self, *, model: str, messages: Json, optional_params: Params, litellm_params: Params,
        headers: dict[str, str],
    ) -> Params: ...  # fmt: skip
    def transform_response(self, **parts: object) -> object: ...
    def get_model_response_iterator(
        self, *, streaming_response: object, sync_stream: bool, json_mode: bool
    ) -> object: ...


class _ChunkParser(Protocol):
    def chunk_parser(self, chunk: dict[str, Json]) -> object: ...


class LongtailAdapter:
    """See :class:`backends.adapter.ProviderAdapter`."""

    def __init__(
        self, endpoints: Mapping[str, Endpoint], now: Callable[[], float] = time.time
    ) -> None:
        self._endpoints = endpoints
        self._now = now
        self._litellm: ModuleType | None = None

    def warm(self) -> None:
        """Import LiteLLM; takes seconds, so call it from a thread when such a target is switched on."""
        if self._litellm is None:
            os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
            litellm = importlib.import_module("litellm")
            vars(litellm)["telemetry"] = False
            vars(litellm)["suppress_debug_info"] = True
            self._litellm = litellm

    def prepare(self, prompt: Prompt, target: Target, output_cap: int | None) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        config = self._config(target)
        said: Params = json.loads(prompt.raw)
        given = {name: value for name, value in said.items() if name not in NOT_PARAMETERS}
        if output_cap is not None:
            given.pop("max_completion_tokens", None)
            given["max_tokens"] = output_cap
        supported = set(config.get_supported_openai_params(target.model))
        taken = {name: value for name, value in given.items() if name in supported}
        dropped = tuple(
            sorted(name for name in given if name not in supported and given[name] is not None)
        )
        endpoint = self._endpoints[target.endpoint]
        key = endpoint.credential.reveal() if endpoint.credential is not None else None
        base = endpoint.base_urls[0] + WHOLE_ADDRESS.get(target.provider, "")
        try:
            optional = config.map_openai_params(
                non_default_params=taken, optional_params={}, model=target.model, drop_params=True
            )
            if prompt.is_stream:
                optional["stream"] = True
            headers = config.validate_environment(
                headers={}, model=target.model, messages=said["messages"], optional_params=optional,
                litellm_params={}, api_key=key, api_base=base,
            )  # fmt: skip
            url = config.get_complete_url(
                api_base=base, api_key=key, model=target.model, optional_params=optional,
                litellm_params={}, stream=prompt.is_stream,
            )  # fmt: skip
            body = config.transform_request(
                model=target.model, messages=said["messages"], optional_params=optional,
                litellm_params={}, headers=headers,
            )  # fmt: skip
        except Exception as error:  # LiteLLM raises whatever its provider's module raises
            message = f"`{target.name}` cannot take this request"
            raise invalid_request(f"{message}: {' '.join(str(error).split())[:300]}") from error
        sent = {name.lower(): value for name, value in headers.items()}
        sent["content-type"] = "application/json"
        return Outbound(
            target.name, url, tuple(sent.items()), orjson.dumps(body), prompt.is_stream, dropped
        )

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """See :class:`backends.adapter.ProviderAdapter`."""
        iterator = self._config(target).get_model_response_iterator(
            streaming_response=iter(()), sync_stream=True, json_mode=False
        )
        parser = LongtailParser(
            cast("_ChunkParser", iterator),  # LiteLLM gives its iterators no common type
            Start(f"chatcmpl-{os.urandom(12).hex()}", target.model, int(self._now())),
        )
        return TranslatingRelay(parser, prompt)

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        httpx, litellm = importlib.import_module("httpx"), self._litellm
        said: Params = json.loads(prompt.raw)
        try:
            answer = self._config(target).transform_response(
                model=target.model,
                raw_response=httpx.Response(200, content=body),
                model_response=litellm.ModelResponse() if litellm is not None else None,
                logging_obj=_Silent(),
                request_data={},
                messages=said["messages"],
                optional_params={},
                litellm_params={},
                encoding=None,
                api_key=None,
            )
        except Exception as error:  # as above; a broken answer is the provider's failure
            raise WireError(_broken(type(error).__name__)) from error
        start = Start(f"chatcmpl-{os.urandom(12).hex()}", target.model, int(self._now()))
        return fold_answer(_events_of(_dump(answer), start, "message"))

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return read_error(status, headers, body)

    def _config(self, target: Target) -> _Config:
        self.warm()
        utils = importlib.import_module("litellm.utils")
        kinds = importlib.import_module("litellm.types.utils")
        provider = kinds.LlmProviders(LITELLM_NAMES.get(target.provider, target.provider))
        config = utils.ProviderConfigManager.get_provider_chat_config(
            model=target.model, provider=provider
        )
        if config is None:
            raise invalid_request(f"`{target.name}` cannot be reached through the long tail")
        return cast("_Config", config)  # LiteLLM is untyped here


class LongtailParser:
    """The events of a stream that one of LiteLLM's chunk parsers reads."""

    def __init__(self, parser: _ChunkParser, start: Start) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self._parser = parser
        self._start: Start | None = start
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._calls: dict[int, int] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """See :class:`backends.wire.relay.EventParser`."""
        events: list[Event] = []
        if self.failure is not None:
            return events
        try:
            for event in self._sse.feed(chunk):
                if event.data.strip() not in (b"[DONE]", b""):
                    parsed = self._parser.chunk_parser(orjson.loads(event.data))
                    self._read(_dump(parsed), events)
        except WireError as error:
            self.failure = error.failure
        except Exception as error:  # LiteLLM raises whatever its provider's module raises
            self.failure = _broken(type(error).__name__)
        return events

    def finish(self) -> list[Event]:
        """See :class:`backends.wire.relay.EventParser`."""
        if self.failure is None and self._finish is None:
            self.failure = Failure(
                "upstream_failed", "the answer was cut off before its end", may_have_spent=True
            )
        if self.failure is not None:
            raise WireError(self.failure)
        raw = self._finish or ""
        return [Finish(FINISH_REASONS.get(raw, "error"), raw), End(self._usage)]

    def _read(self, chunk: dict[str, Json], events: list[Event]) -> None:
        if self._start is not None:
            events.append(self._start)
            self._start = None
        usage = _usage_of(chunk)
        if usage is not None:
            self._usage = usage
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices:
            choice = cast("dict[str, Json]", choices[0])
            delta = cast("dict[str, Json]", choice.get("delta") or {})
            self._delta(delta, events)
            finish = choice.get("finish_reason")
        else:  # LiteLLM's older shape: text, tool_use, is_finished
            self._delta(
                {"content": chunk.get("text"), "tool_calls": _as_list(chunk.get("tool_use"))},
                events,
            )
            finish = chunk.get("finish_reason") if chunk.get("is_finished") else None
        if isinstance(finish, str) and finish:
            self._finish = finish

    def _delta(self, delta: dict[str, Json], events: list[Event]) -> None:
        content = delta.get("content")
        if isinstance(content, str) and content:
            events.append(TextDelta(content))
        for call in cast("list[dict[str, Json]]", delta.get("tool_calls") or []):
            function = cast("dict[str, Json]", call.get("function") or {})
            place = call.get("index")
            key = place if isinstance(place, int) else 0
            if key not in self._calls or call.get("id"):
                self._calls[key] = len(self._calls)
                events.append(
                    CallStart(
                        self._calls[key],
                        str(call.get("id") or f"call_{os.urandom(8).hex()}"),
                        str(function.get("name") or ""),
                    )
                )
            arguments = function.get("arguments")
            if isinstance(arguments, str) and arguments:
                events.append(CallDelta(self._calls[key], arguments))


def _events_of(answer: dict[str, Json], start: Start, member: str) -> list[Event]:
    """A whole answer in OpenAI's shape as events."""
    events: list[Event] = [start]
    choices = cast("list[dict[str, Json]]", answer.get("choices") or [])
    for at, choice in enumerate(choices):
        message = cast("dict[str, Json]", choice.get(member) or {})
        content = message.get("content")
        if isinstance(content, str) and content:
            events.append(TextDelta(content, at))
        for number, call in enumerate(
            cast("list[dict[str, Json]]", message.get("tool_calls") or [])
        ):
            function = cast("dict[str, Json]", call.get("function") or {})
            events.append(
                CallStart(number, str(call.get("id")), str(function.get("name")), choice=at)
            )
            events.append(CallDelta(number, str(function.get("arguments") or ""), at))
        raw = str(choice.get("finish_reason") or "")
        events.append(Finish(FINISH_REASONS.get(raw, "error"), raw, at))
    events.append(End(_usage_of(answer)))
    return events


def _usage_of(body: dict[str, Json]) -> Usage | None:
    raw = body.get("usage")
    if not isinstance(raw, dict):
        return None
    try:
        return normalise_usage(msgspec.convert(raw, RawUsage, strict=False))
    except msgspec.ValidationError:
        return None


def _dump(value: object) -> dict[str, Json]:
    """LiteLLM's answer objects (pydantic) or plain mappings as JSON values."""
    dump = getattr(value, "model_dump", None)
    plain = dump(exclude_none=True) if callable(dump) else value
    return dict(cast("Mapping[str, Json]", plain))


def _as_list(value: Json) -> Json:
    return [] if value is None else [value]


def _broken(what: str) -> Failure:
    return Failure(
        "upstream_failed", "the provider's answer is broken", detail=what, may_have_spent=True
    )


class _Silent:
    """Stands where LiteLLM wants a logger: hears everything, says nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        def ignore(*_args: object, **_kwargs: object) -> None:
            return None

        return ignore
