"""The body of ``embedContent`` or ``batchEmbedContents`` → prompt: each content is one user's turn.

Promises: texts only, for other media have prices of their own; the model of every request is the address's; what is
not modelled (``taskType``, ``title``) is kept by its path. Source: Gemini API reference, google-genai 3.4.0.
"""

from backends.wire.failure import invalid_request
from backends.wire.gemini.members import Members, missing
from backends.wire.json_scan import read_object
from backends.wire.prompt import Asked, EmbeddingAsked, Message, Prompt, Text
from backends.wire.reading import check_range

REQUESTS_MAX = 2048
"""Only bounded: Google takes 100 at a time."""
PARTS_MAX = 1024
MEMBERS_MAX = 256
DIMENSIONS_MAX = 2**16
ROLES = (b'"user"', b'"model"', b'""')
"""What says nothing here: there is no conversation."""


def parse_request(raw: bytes, asked: Asked) -> Prompt:
    """The prompt in ``raw``. Raises ``WireError`` with the path of what is wrong."""
    if len(read_object(raw)) > MEMBERS_MAX:
        raise invalid_request(f"the body may hold at most {MEMBERS_MAX} members")
    body = Members(raw, "")
    unknown: dict[str, bytes] = {}
    if not asked.model:
        raise invalid_request("`model` must not be empty", param="model")
    if asked.is_batch:
        requests = body.children("requests", REQUESTS_MAX)
        if not requests:
            raise missing("requests")
        _check_model(body, asked.model)
        body.keep_rest(unknown)
    else:
        requests = [body]
    messages: list[Message] = []
    dimensions: set[int | None] = set()
    for request in requests:
        _check_model(request, asked.model)
        messages.append(Message("user", _parts(request, unknown)))
        dimensions.add(_read_dimensions(request))
        request.keep_rest(unknown)
    return Prompt(
        format="gemini-embeddings",
        raw=raw,
        request_model=asked.model,
        messages=tuple(messages),
        asked=asked,
        embedding=EmbeddingAsked(
            dimensions=dimensions.pop() if len(dimensions) == 1 else None,
            has_mixed_dimensions=len(dimensions) > 1,
        ),
        unknown=unknown,
    )


def _check_model(request: Members, model: str) -> None:
    said = request.text("model")
    if said and said.removeprefix("models/") != model:
        where = request.path_of("model")
        message = f"`{where}` is another one than in the address"
        raise invalid_request(message, param=where, code="invalid_value")


def _read_dimensions(request: Members) -> int | None:
    dimensions = request.whole("outputDimensionality")
    check_range(request.path_of("outputDimensionality"), dimensions, 1, DIMENSIONS_MAX)
    return dimensions


def _parts(request: Members, unknown: dict[str, bytes]) -> tuple[Text, ...]:
    content = request.child("content")
    if content is None:
        raise missing(request.path_of("content"))
    role = content.take("role")
    if role is not None and role[0] not in ROLES:
        unknown[role[1]] = role[0]
    texts: list[Text] = []
    for part in content.children("parts", PARTS_MAX):
        text = part.text("text")
        for name in part.names():
            if (found := part.take(name)) is not None:
                message = f"`{found[1]}` is not taken: only texts are embedded here"
                raise invalid_request(message, param=found[1], code="invalid_value")
        if text:
            texts.append(Text(text))
    if not texts:
        where = content.path_of("parts")
        raise invalid_request(f"`{where}` holds no text", param=where, code="empty_array")
    content.keep_rest(unknown)
    return tuple(texts)
