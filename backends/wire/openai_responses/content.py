"""Parts of an item's content → parts of the prompt.

Promises: what is not modelled is kept by its path, or whole where only OpenAI knows the kind; broken or misplaced
parts are refused with their place.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.openai_responses.said import SaidPart
from backends.wire.prompt import Media, Opaque, Refusal, Text
from backends.wire.reading import check_base64, explain_invalid, parse_data_url

T = TypeVar("T")
Note = Callable[[str, bytes], None]
"""Takes the path of a member that is not modelled, and its JSON."""

ASKING = ("input_text", "input_image", "input_file", "input_audio")
ANSWERING = ("output_text", "refusal", "input_text")
RESULTS = ("input_text", "input_image", "input_file")
"""What a message of a client's, of the assistant and a result of a tool may hold."""

_PART = msgspec.json.Decoder(SaidPart)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MODELLED: Mapping[str, frozenset[str]] = {
    "input_text": frozenset({"type", "text"}),
    "output_text": frozenset({"type", "text"}),
    "refusal": frozenset({"type", "refusal"}),
    "input_image": frozenset({"type", "image_url", "file_id", "detail"}),
    "input_file": frozenset({"type", "file_data", "file_id", "file_url", "filename"}),
    "input_audio": frozenset({"type", "input_audio"}),
}
_AUDIO_MEMBERS = frozenset({"data", "format"})
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_CHAT_WORDS = frozenset({"text", "image_url", "file"})
"""What the chat format calls its parts: an easy mistake, which OpenAI refuses."""
NOTHING = frozenset({b"", b"null", b"[]"})


def read_part(
    raw: bytes, path: str, allowed: tuple[str, ...], note: Note
) -> Text | Media | Refusal | Opaque:
    """One part. Raises ``WireError`` with its place."""
    try:
        part = _PART.decode(raw)
    except msgspec.ValidationError as error:
        failure = explain_invalid(error, ()).failure
        param = f"{path}.{failure.param}" if failure.param else path
        raise invalid_request(failure.message, param=param, code=failure.code) from error
    if part.type not in allowed:
        if part.type in _MODELLED or part.type in _CHAT_WORDS or allowed is RESULTS:
            said = f"`{part.type[:40]}` is no value for `{path}.type` here; it is one of "
            said += ", ".join(f"`{word}`" for word in allowed)
            raise invalid_request(said, param=f"{path}.type", code="invalid_value")
        return Opaque(f"content.{part.type}", raw)
    note_unmodelled(raw, _MODELLED[part.type], path, note)
    match part.type:
        case "input_text" | "output_text":
            return Text(need(part.text, f"{path}.text"))
        case "refusal":
            return Refusal(need(part.refusal, f"{path}.refusal"))
        case "input_image":
            return _image(part, path)
        case "input_file":
            return _file(part, path)
        case _:
            return _audio(part, raw, path, note)


def note_unmodelled(raw: bytes, known: frozenset[str], path: str, note: Note) -> None:
    """Tell ``note`` of every member of the object ``raw`` that is not ``known`` and says something."""
    for name, value in _MEMBERS.decode(raw).items():
        if name not in known and bytes(value) not in NOTHING:
            note(f"{path}.{name}", bytes(value))


def need(value: T | None, path: str) -> T:
    """``value``, which has to be there. Raises ``WireError``."""
    if value is None:
        raise invalid_request(f"`{path}` is missing", param=path, code="missing_required_parameter")
    return value


def _image(part: SaidPart, path: str) -> Media:
    url = part.image_url
    if url is None:
        return Media("image", detail=part.detail, file_id=need(part.file_id, f"{path}.image_url"))
    if url[:5].lower() == "data:":
        kind, data = parse_data_url(url, f"{path}.image_url")
        if not kind.startswith("image/"):
            words = f"`{kind}` is no image"
            raise invalid_request(words, param=f"{path}.image_url", code="invalid_image")
        return Media("image", kind, data, detail=part.detail, file_id=part.file_id)
    _check_address(url, f"{path}.image_url")
    return Media("image", url=url, detail=part.detail, file_id=part.file_id)


def _file(part: SaidPart, path: str) -> Media:
    if part.file_data is None:
        if part.file_url is not None:
            _check_address(part.file_url, f"{path}.file_url")
        else:
            need(part.file_id, f"{path}.file_data")
        return Media("document", url=part.file_url, name=part.filename, file_id=part.file_id)
    if part.file_url is not None:
        words = "a file is either data or an address, not both"
        raise invalid_request(words, param=f"{path}.file_url", code="invalid_value")
    kind, data = "application/pdf", part.file_data
    if data[:5].lower() == "data:":
        kind, data = parse_data_url(data, f"{path}.file_data")
    else:
        check_base64(data, f"{path}.file_data")
    return Media("document", kind, data, name=part.filename, file_id=part.file_id)


def _audio(part: SaidPart, raw: bytes, path: str, note: Note) -> Media:
    audio = need(part.input_audio, f"{path}.input_audio")
    inner = bytes(_MEMBERS.decode(raw)["input_audio"])
    note_unmodelled(inner, _AUDIO_MEMBERS, f"{path}.input_audio", note)
    check_base64(audio.data, f"{path}.input_audio.data")
    kind = _AUDIO_TYPES.get(audio.format)
    if kind is None:
        message = f"`{audio.format[:40]}` is no audio format; send wav or mp3"
        raise invalid_request(message, param=f"{path}.input_audio.format")
    return Media("audio", kind, audio.data)


def _check_address(url: str, path: str) -> None:
    if not url.lower().startswith(("https://", "http://")):
        message = "an address is a `data:` URL or an http(s) one"
        raise invalid_request(message, param=path, code="invalid_image_url")
