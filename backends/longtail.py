"""Every other provider, through LiteLLM's request and answer transforms and nothing else of it.

Promises: LiteLLM is imported only when a target of the long tail is switched on (it costs seconds and
190 MB), in a thread, and is kept from calling out by itself: no price map from the network, no callbacks,
no client of its own. The bytes leave through :mod:`backends.transport`. What it does not carry is listed,
a cap that it does not carry is refused. Where it misreads a provider's answers a codec of our own does
the reading (:mod:`backends.wire.cohere_chat`).
"""

import asyncio
import functools
import importlib
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

import msgspec
import orjson

from backends.adapter import Outbound, Terms
from backends.embeddings import refuse_embedding
from backends.target import Endpoint, Target
from backends.wire import cohere_chat
from backends.wire.events import Start
from backends.wire.failure import Failure, WireError, invalid_request
from backends.wire.longtail_shapes import ChunkParser, ShapeParser, broken, read_shape
from backends.wire.openai_chat import (
    FOREIGN,
    drop_foreign,
    holds_foreign,
    parse_request,
    read_error,
    render_request,
)
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Json, Prompt
from backends.wire.relay import EventParser, TranslatingRelay, fold_answer
from backends.wire.rendering import Losses
from backends.wire.upstream_errors import clean_text

if TYPE_CHECKING:
    from types import ModuleType

ERROR_CHARS_MAX = 300
WHOLE_ADDRESS: Mapping[str, str] = {"cohere": "/v2/chat"}
"""Providers whose transform takes the address as given: the path that belongs to it."""
LITELLM_NAMES: Mapping[str, str] = {"cohere": "cohere_chat"}
OWN_READERS = frozenset({"cohere"})
"""Providers whose answers LiteLLM misreads."""
NOT_PARAMETERS = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
)
"""Members that are no sampling parameters, or that :meth:`LongtailAdapter.prepare` sets itself."""
CAPS = ("max_tokens", "max_completion_tokens")
FOR_SDKS = frozenset(
    {"extra_headers", "extra_body", "extra_query", "timeout", "api_base", "api_key"}
)
"""What LiteLLM takes from callers in its own process, never from the wire."""
WITHOUT_EFFECT: Mapping[str, tuple[Json, ...]] = {
    "n": (1,),
    "tool_choice": ("auto",),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "stop": ([],),
}
"""Values that say what holds anyway, so that leaving them out loses nothing."""
BARRED = frozenset(
    {
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.sendto",
        "socket.sendmsg",
    }
)
"""Audit events (Python's table of them) of a thread that calls out."""

Params = dict[str, Json]


class ProviderConfig(Protocol):
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


class _LiteLLM:
    """LiteLLM, imported and sealed in."""

    def __init__(self) -> None:
        self._here = threading.local()
        sys.addaudithook(self._watch)
        # It would read a price map from the network and any `.env` from the folder it runs in.
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        os.environ["LITELLM_MODE"] = "PRODUCTION"
        with self.sealed():
            self.module: ModuleType = importlib.import_module("litellm")
            self.utils: ModuleType = importlib.import_module("litellm.utils")
            self.kinds: ModuleType = importlib.import_module("litellm.types.utils")
            self.httpx: ModuleType = importlib.import_module("httpx")
        vars(self.module)["telemetry"] = False
        vars(self.module)["suppress_debug_info"] = True
        # It has much to say of its own types, and its log lines quote prompts.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"pydantic\b")
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logging.getLogger(name).disabled = True

    @contextmanager
    def sealed(self) -> Generator[None]:
        """While it lasts this thread cannot call out; other threads can."""
        self._here.is_sealed = True
        try:
            yield
        finally:
            self._here.is_sealed = False

    def find_config(self, target: Target) -> ProviderConfig:
        """The transforms for ``target``. Raises ``WireError`` if LiteLLM has none."""
        name = LITELLM_NAMES.get(target.provider, target.provider)
        try:
            config = self.utils.ProviderConfigManager.get_provider_chat_config(
                model=target.model, provider=self.kinds.LlmProviders(name)
            )
        except ValueError:
            config = None
        if config is None:
            raise invalid_request(f"`{target.name}` cannot be reached through the long tail")
        return cast("ProviderConfig", config)  # LiteLLM is untyped here

    def _watch(self, event: str, _args: tuple[object, ...]) -> None:
        if event in BARRED and getattr(self._here, "is_sealed", False):
            raise _CallsOut("it would have to call out by itself")


class _SealedParser:
    """LiteLLM's reader of the chunks of one stream, kept from calling out."""

    def __init__(self, litellm: _LiteLLM, iterator: object) -> None:
        self._litellm = litellm
        self._parser = cast("ChunkParser", iterator)  # LiteLLM gives its iterators no common type

    def chunk_parser(self, chunk: dict[str, Json]) -> object:
        """See :class:`backends.wire.longtail_shapes.ChunkParser`."""
        with self._litellm.sealed():
            return self._parser.chunk_parser(chunk)


class _CallsOut(RuntimeError):
    """LiteLLM tried to open a connection of its own (for a token, or an image's bytes)."""


# An import and an audit hook are the process's own: neither can be undone, nor should be done twice.
@functools.cache
def _open_litellm() -> _LiteLLM:
    return _LiteLLM()


class LongtailAdapter:
    """See :class:`backends.adapter.ProviderAdapter`."""

    def __init__(
        self, endpoints: Mapping[str, Endpoint], now: Callable[[], float] = time.time
    ) -> None:
        self._endpoints = endpoints
        self._now = now
        self._litellm: _LiteLLM | None = None
        self._loading: asyncio.Task[None] | None = None

    @property
    def load(self) -> Callable[[], Awaitable[None]] | None:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return self._load if self._litellm is None else None

    async def _load(self) -> None:
        """Import LiteLLM in a thread, once for all who wait. Raises ``WireError`` if it is not there."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(asyncio.to_thread(self.warm))
        try:
            # A client that leaves takes nothing from the others.
            await asyncio.shield(self._loading)
        except (ImportError, OSError) as error:
            message = "what speaks to this provider cannot be loaded"
            detail = type(error).__name__
            raise WireError(Failure("upstream_failed", message, detail=detail)) from error

    def warm(self) -> None:
        """Import LiteLLM; takes seconds, so that it is no affair of the event loop's thread."""
        self._litellm = _open_litellm()

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        refuse_embedding(prompt, target)
        litellm = self._opened()
        config = litellm.find_config(target)
        chat, lost = as_chat(prompt)
        with litellm.sealed():
            call = Translation(config, target, self._endpoints[target.endpoint], chat)
            sent = call.render(terms.output_cap)
        return msgspec.structs.replace(sent, dropped=(*lost, *sent.dropped)) if lost else sent

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """See :class:`backends.adapter.ProviderAdapter`."""
        created_at = int(self._now())
        parser: EventParser
        if target.provider in OWN_READERS:
            parser = cohere_chat.CohereParser(model=target.model, created_at=created_at)
        else:
            litellm = self._opened()
            iterator = _open_iterator(litellm.find_config(target))
            parser = ShapeParser(
                _SealedParser(litellm, iterator), Start(_make_id(), target.model, created_at)
            )
        return TranslatingRelay(parser, prompt)

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        created_at = int(self._now())
        if target.provider in OWN_READERS:
            return fold_answer(
                prompt, cohere_chat.read_answer(body, model=target.model, created_at=created_at)
            )
        litellm = self._opened()
        blank = litellm.module.ModelResponse()
        # What a transform leaves as it was is not known, and must not look like an orderly end.
        blank.choices[0].finish_reason = ""
        try:
            with litellm.sealed():
                answer = litellm.find_config(target).transform_response(
                    model=target.model,
                    raw_response=litellm.httpx.Response(200, content=body),
                    model_response=blank,
                    logging_obj=_Silent(),
                    request_data={},
                    messages=json.loads(as_chat(prompt)[0].raw)["messages"],
                    optional_params={},
                    litellm_params={},
                    encoding=None,
                    api_key=None,
                )
            dropped: dict[str, None] = {}
            start = Start(_make_id(), target.model, created_at)
            return fold_answer(prompt, read_shape(answer, start, dropped), tuple(dropped))
        except WireError:
            raise
        except Exception as error:  # LiteLLM raises whatever its provider's module raises
            raise WireError(broken(type(error).__name__)) from error

    def find_counter(self, target: Target) -> None:
        """Nothing at these hosts counts; see :class:`backends.adapter.ProviderAdapter`."""
        del target

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return read_error(status, headers, body)

    def _opened(self) -> _LiteLLM:
        if self._litellm is None:
            # Never import here: this is the event loop's thread.
            message = "what speaks to this provider is still being loaded; try again"
            raise WireError(Failure("overloaded", message, retry_after_seconds=3.0))
        return self._litellm


def as_chat(prompt: Prompt) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt as a chat client would have sent it, which is what LiteLLM reads, and what that leaves out."""
    if prompt.format == "openai-chat":
        if holds_foreign(prompt):
            return parse_request(drop_foreign(prompt.raw)), (FOREIGN,)
        return prompt, ()
    rendered = render_request(
        prompt, model=prompt.request_model, output_cap=None, output_tokens_default=0
    )
    return parse_request(rendered.body), rendered.dropped


class Translation:
    """One prompt on its way through LiteLLM's transforms."""

    def __init__(
        self, config: ProviderConfig, target: Target, endpoint: Endpoint, prompt: Prompt
    ) -> None:
        self._config = config
        self._target = target
        self._prompt = prompt
        self._said: Params = json.loads(prompt.raw)
        self._supported = set(config.get_supported_openai_params(target.model)) - FOR_SDKS
        credential = endpoint.credential
        self._key = credential.reveal() if credential is not None else None
        self._base = endpoint.base_urls[0] + WHOLE_ADDRESS.get(target.provider, "")

    def render(self, output_cap: int | None) -> Outbound:
        """The request. Raises ``WireError``, with the parameter where it is known."""
        prompt, target = self._prompt, self._target
        is_read_here = target.provider in OWN_READERS
        if prompt.is_stream and not is_read_here and _open_iterator(self._config) is None:
            raise invalid_request(f"`{target.name}` cannot stream", param="stream")
        said = self._said
        given = {name: value for name, value in said.items() if name not in NOT_PARAMETERS}
        taken = {name: value for name, value in given.items() if name in self._supported}
        optional = self._map(taken)
        lost = [name for name in given if name not in taken or self._is_lost(name, taken[name])]
        optional.update(self._cap(output_cap))
        if prompt.is_stream:
            optional["stream"] = True
            if "stream_options" in self._supported:
                optional["stream_options"] = {"include_usage": True}
        try:
            url, headers, body = self._transform(optional)
            if target.provider == "cohere":
                added = cohere_chat.complete_request(body, prompt)
                lost = [name for name in lost if name not in added]
            encoded = orjson.dumps(body)
        except Exception as error:  # LiteLLM raises whatever its provider's module raises
            raise self._refuse(error, None) from error
        sent = {name.lower(): value for name, value in headers.items()}
        sent["content-type"] = "application/json"
        sent.pop("request-source", None)
        dropped = self._name_losses(lost)
        return Outbound(target.name, url, tuple(sent.items()), encoded, prompt.is_stream, dropped)

    def _map(self, taken: Params) -> Params:
        try:
            return self._map_some(taken)
        except Exception as error:  # as above
            raise self._refuse(error, self._find_culprit(taken)) from error

    def _map_some(self, params: Params) -> Params:
        return self._config.map_openai_params(
            non_default_params=dict(params),
            optional_params={},
            model=self._target.model,
            drop_params=True,
        )

    def _find_culprit(self, taken: Params) -> str | None:
        for name, value in taken.items():
            try:
                self._map_some({name: value})
            except Exception:  # as above; this one is the reason
                return name
        return None

    def _is_lost(self, name: str, value: Json) -> bool:
        """LiteLLM calls some parameters supported and then leaves them out."""
        try:
            return not self._map_some({name: value})
        except Exception:  # as above: it cannot be mapped alone, but was with the others
            return False

    def _cap(self, output_cap: int | None) -> Params:
        """The output cap under the provider's name. Raises ``WireError`` if it would get lost."""
        cap = output_cap if output_cap is not None else self._prompt.output_tokens_max
        if cap is None:
            return {}
        for name in CAPS:
            mapped = self._map({name: cap}) if name in self._supported else {}
            if cap in mapped.values():
                return mapped
        raise invalid_request(
            f"`{self._target.name}` takes no output cap, so that its bill has no bound",
            param="max_tokens",
        )

    def _transform(self, optional: Params) -> tuple[str, dict[str, str], Params]:
        model, messages = self._target.model, self._messages()
        headers = self._config.validate_environment(
            headers={}, model=model, messages=messages, optional_params=optional,
            litellm_params={}, api_key=self._key, api_base=self._base,
        )  # fmt: skip
        url = self._config.get_complete_url(
            api_base=self._base, api_key=self._key, model=model, optional_params=optional,
            litellm_params={}, stream=self._prompt.is_stream,
        )  # fmt: skip
        body = self._config.transform_request(
            model=model, messages=messages, optional_params=optional, litellm_params={},
            headers=headers,
        )  # fmt: skip
        return url, headers, body

    def _messages(self) -> Json:
        """The messages; ``developer`` is OpenAI's own word for ``system``."""
        messages = cast("list[dict[str, Json]]", self._said["messages"])  # as the codec checked
        for message in messages:
            if message.get("role") == "developer":
                message["role"] = "system"
        return cast("Json", messages)  # a list of mappings is JSON; lists are invariant

    def _name_losses(self, lost: list[str]) -> tuple[str, ...]:
        losses = Losses()
        unknown = self._prompt.unknown
        losses.add_unknown({name: unknown[name] for name in lost if name in unknown}, frozenset())
        for name in lost:
            value = self._said[name]
            is_unsaid = value is None or value in WITHOUT_EFFECT.get(name, ())
            if name not in unknown and not is_unsaid:
                losses.add(name)
        return losses.names()

    def _refuse(self, error: Exception, param: str | None) -> WireError:
        words = str(error)
        if self._key:
            words = words.replace(self._key, "[hidden]")
        about = f" because of `{param}`" if param is not None else ""
        message = f"`{self._target.name}` cannot take this request{about}"
        return invalid_request(f"{message}: {clean_text(words)[:ERROR_CHARS_MAX]}", param=param)


def _open_iterator(config: ProviderConfig) -> object:
    """LiteLLM's reader of a provider's stream; None where it has none of this kind."""
    return config.get_model_response_iterator(
        streaming_response=iter(()), sync_stream=True, json_mode=False
    )


def _make_id() -> str:
    return f"chatcmpl-{os.urandom(12).hex()}"


class _Silent:
    """Stands where LiteLLM wants a logger: hears everything, says nothing."""

    def __init__(self) -> None:
        self.model_call_details: dict[str, object] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        def ignore(*_args: object, **_kwargs: object) -> None:
            return None

        return ignore
