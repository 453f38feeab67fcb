"""Prompt → the body of a chat request, for clients that speak another format.

Promises: what the format cannot take is refused (``WireError``) or listed in ``dropped``; the output cap has the
name that the host knows. Schemas and arguments are spliced in as they came. What hosts do not take is data:
:mod:`backends.pass_through`. A client's own chat body never comes here: it passes.
"""

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.openai_chat.logprobs import ALTERNATIVES_MAX
from backends.wire.prompt import (
    Media,
    Message,
    OutputSchema,
    Prompt,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from backends.wire.rendering import Losses, Rendered, find_effort, is_json_object, short_id

STOPS_MAX = 4
ERROR_MARK = "[tool error]"
"""Says in the text of a tool's result what the format has no flag for."""
AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_ENCODER = msgspec.json.Encoder()

Json = dict[str, object]


def render_request(
    prompt: Prompt,
    *,
    model: str,
    output_cap: int | None,
    output_tokens_default: int,
    cap_name: str = "max_completion_tokens",
    not_taken: frozenset[str] = frozenset(),
) -> Rendered:
    """Render ``prompt`` for ``model``, at most ``output_cap`` tokens of output.

    ``cap_name`` is what the host calls the cap, ``not_taken`` the members that it answers with an error.
    ``output_tokens_default`` is not needed where a cap may be left out. Raises ``WireError``.
    """
    del output_tokens_default
    losses = Losses(prompt.format)
    body: Json = {"model": model, "messages": _Conversation(losses).render(prompt.messages)}
    if prompt.is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    cap = prompt.output_tokens_max
    if output_cap is not None and (cap is None or output_cap < cap):
        cap = output_cap
    if cap is not None:
        body[cap_name] = cap
    _add_tools(prompt, body, losses)
    if prompt.output_schema is not None:
        body["response_format"] = _response_format(prompt.output_schema)
    effort = find_effort(prompt)
    if effort == "max":
        losses.add("reasoning_effort")
        effort = "xhigh"
    said: Json = {"reasoning_effort": effort, "n": prompt.choices if prompt.choices > 1 else None}
    said |= _logprobs(prompt, losses)
    said |= _sampling(prompt, losses)
    if prompt.hints.user is not None:
        said["user"] = short_id(prompt.hints.user, "user")
    if prompt.hints.cache_key is not None:
        said["prompt_cache_key"] = short_id(prompt.hints.cache_key, "key")
    _list_cache_hints(prompt, losses)
    for name, value in said.items():
        if value is None:
            continue
        if name in not_taken:
            losses.add(name)
        else:
            body[name] = value
    if prompt.unknown:
        losses.add_unknown(prompt.unknown, frozenset())
    return Rendered(_ENCODER.encode(body), losses.names())


def _logprobs(prompt: Prompt, losses: Losses) -> Json:
    wanted = prompt.logprobs
    if wanted is None:
        return {}
    if wanted > ALTERNATIVES_MAX:
        losses.add("top_logprobs")
    return {"logprobs": True, "top_logprobs": min(wanted, ALTERNATIVES_MAX) or None}


def _list_cache_hints(prompt: Prompt, losses: Losses) -> None:
    """These hosts find out by themselves what is worth keeping."""
    if prompt.hints.cache_ttl is not None:
        losses.add("prompt_cache_retention")
    if any(tool.cache_ttl is not None for tool in prompt.tools):
        losses.add("tools[].cache_control")
    if any(
        getattr(part, "cache_ttl", None) is not None
        for message in prompt.messages
        for part in message.parts
    ):
        losses.add("messages[].cache_control")


def _sampling(prompt: Prompt, losses: Losses) -> Json:
    sampling = prompt.sampling
    if len(sampling.stop) > STOPS_MAX:
        losses.add("stop")
    return {
        "stop": list(sampling.stop[:STOPS_MAX]) or None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }


def _add_tools(prompt: Prompt, body: Json, losses: Losses) -> None:
    for tool in prompt.provider_tools:
        losses.add(f"tools.{tool.kind}")
    if not prompt.tools:
        return
    body["tools"] = [_tool(tool, at) for at, tool in enumerate(prompt.tools)]
    choice = prompt.tool_choice
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = named if choice.mode == "named" else choice.mode
    if prompt.allows_parallel_calls is not None:
        body["parallel_tool_calls"] = prompt.allows_parallel_calls


def _tool(tool: Tool, at: int) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        if not is_json_object(tool.parameters):
            param = f"tools[{at}].parameters"
            raise invalid_request("the schema is not a JSON object", param=param)
        function["parameters"] = msgspec.Raw(tool.parameters)
    if tool.is_strict is not None:
        function["strict"] = tool.is_strict
    return {"type": "function", "function": function}


def _response_format(wanted: OutputSchema) -> Json:
    if wanted.schema is None:
        return {"type": "json_object"}
    named: Json = {"name": wanted.name, "schema": msgspec.Raw(wanted.schema)}
    if wanted.description is not None:
        named["description"] = wanted.description
    if wanted.is_strict is not None:
        named["strict"] = wanted.is_strict
    return {"type": "json_schema", "json_schema": named}


class _Conversation:
    """Turns as chat messages: a result of a tool is a message of its own, and holds text only."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._messages: list[Json] = []

    def render(self, messages: tuple[Message, ...]) -> list[Json]:
        """All of them. Raises ``WireError`` for what a chat cannot hold."""
        for at, message in enumerate(messages):
            if message.role == "assistant":
                self._assistant(at, message)
            else:
                self._others(at, message)
        return self._messages

    def _others(self, at: int, message: Message) -> None:
        parts: list[Json] = []
        role = "user" if message.role == "tool" else message.role
        for part in message.parts:
            if isinstance(part, ToolResult):
                parts += self._result(at, part)
            elif isinstance(part, Text):
                parts.append({"type": "text", "text": part.text})
            elif isinstance(part, Media):
                parts.append(_media(at, part))
            elif isinstance(part, ToolCall | Reasoning | Refusal):
                raise invalid_request(
                    f"a {message.role} message cannot hold a call or reasoning",
                    param=f"messages[{at}]",
                )
            else:
                self._losses.add(f"messages[].{part.kind}")
        if not parts and any(isinstance(part, ToolResult) for part in message.parts):
            return
        content: object = parts
        if len(parts) == 1 and parts[0]["type"] == "text":
            content = parts[0]["text"]
        said: Json = {"role": role, "content": content or ""}
        if message.name is not None:
            said["name"] = message.name
        self._messages.append(said)

    def _result(self, at: int, result: ToolResult) -> list[Json]:
        """Adds the result's message; gives its pictures, which a user has to show."""
        text = "\n".join(part.text for part in result.content if isinstance(part, Text))
        if result.is_error:
            text = f"{ERROR_MARK}\n{text}"
        self._messages.append({"role": "tool", "tool_call_id": result.call_id, "content": text})
        return [_media(at, part) for part in result.content if isinstance(part, Media)]

    def _assistant(self, at: int, message: Message) -> None:
        texts: list[str] = []
        refusals: list[str] = []
        calls: list[Json] = []
        for part in message.parts:
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, Refusal):
                refusals.append(part.text)
            elif isinstance(part, ToolCall):
                calls.append(self._call(part))
            elif isinstance(part, Reasoning):
                self._losses.add("messages[].reasoning_content")
            elif isinstance(part, Media | ToolResult):
                raise invalid_request(
                    "an assistant's message cannot hold media or results", param=f"messages[{at}]"
                )
            else:
                self._losses.add(f"messages[].{part.kind}")
        text = "".join(texts)
        said: Json = {"role": "assistant", "content": text or (None if calls or refusals else "")}
        if refusals:
            said["refusal"] = "".join(refusals)
        if calls:
            said["tool_calls"] = calls
        if not (calls or refusals or text) and message.parts:
            return  # Only thinking, or what nobody else knows.
        self._messages.append(said)

    def _call(self, call: ToolCall) -> Json:
        if call.signature is not None:
            self._losses.add("messages[].reasoning_content")
        function = {"name": call.name, "arguments": call.arguments or "{}"}
        return {"id": call.id, "type": "function", "function": function}


def _media(at: int, media: Media) -> Json:
    if media.file_id is not None:
        raise _untakeable(at, "files that another provider keeps cannot be sent on")
    if media.kind == "image":
        url = media.url or f"data:{media.media_type};base64,{media.data}"
        image: Json = {"url": url}
        if media.detail is not None:
            image["detail"] = media.detail
        return {"type": "image_url", "image_url": image}
    if media.data is None:
        raise _untakeable(at, "a chat takes documents and audio inline only")
    if media.kind == "audio":
        kind = AUDIO_FORMATS.get(media.media_type or "")
        if kind is None:
            raise _untakeable(at, "a chat takes audio as wav or mp3 only")
        return {"type": "input_audio", "input_audio": {"data": media.data, "format": kind}}
    file: Json = {"file_data": f"data:{media.media_type};base64,{media.data}"}
    file["filename"] = media.name or "document.pdf"  # which OpenAI insists on
    return {"type": "file", "file": file}


def _untakeable(at: int, words: str) -> WireError:
    return invalid_request(words, param=f"messages[{at}]")
