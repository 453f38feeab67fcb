"""Sources on the web as OpenAI writes them: ``url_citation``, nested in its chat format and flat in Responses.

Promises: whatever a host sends is read or named, never an error; places are characters of the answer's text. Where
nobody said the place both indexes are 0, as OpenRouter has it. Perplexity lists its sources beside the choices.
"""

import msgspec

from backends.wire.events import Citation

PLACE_MAX = 2**31 - 1
"""No answer is longer; beyond it stands no place."""
_EMPTY = frozenset({b"", b"null", b"[]"})

Json = dict[str, object]


class _Source(msgspec.Struct):
    url: str
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class _Annotation(msgspec.Struct):
    type: str = ""
    url_citation: _Source | None = None


_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_ANNOTATION = msgspec.json.Decoder(_Annotation)
_SOURCE = msgspec.json.Decoder(_Source)
_SOURCES = msgspec.json.Decoder(list[_Source])
_ADDRESSES = msgspec.json.Decoder(list[str])


def read_annotations(
    raw: msgspec.Raw, dropped: dict[str, None], choice: int = 0, *, has_place: bool = True
) -> list[Citation]:
    """The citations in a list of annotations. ``has_place``: its indexes count from the beginning of the choice."""
    if bytes(raw) in _EMPTY:
        return []
    found: list[Citation] = []
    try:
        entries = _RAWS.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        entries = [raw]
    for one in entries:
        citation = read_annotation(one, dropped, choice, has_place=has_place)
        if citation is not None:
            found.append(citation)
    return found


def read_annotation(
    raw: msgspec.Raw, dropped: dict[str, None], choice: int = 0, *, has_place: bool = True
) -> Citation | None:
    """One of them; what is no address on the web is named in ``dropped``."""
    try:
        said = _ANNOTATION.decode(raw)
        if said.type == "url_citation":
            source = said.url_citation or _SOURCE.decode(raw)
            return _cite(source, choice, has_place=has_place)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    dropped["annotations"] = None
    return None


def _cite(source: _Source, choice: int, *, has_place: bool) -> Citation:
    start, end = source.start_index, source.end_index
    if not has_place or start is None or end is None or not 0 <= start < end <= PLACE_MAX:
        start = end = None
    return Citation(source.url, source.title or "", start, end, choice)


def read_sources(results: msgspec.Raw, addresses: msgspec.Raw) -> list[Citation]:
    """Perplexity's ``search_results`` or, where a model has none, its ``citations``."""
    try:
        if bytes(results) not in _EMPTY:
            return [Citation(one.url, one.title or "") for one in _SOURCES.decode(results)]
        if bytes(addresses) not in _EMPTY:
            return [Citation(one) for one in _ADDRESSES.decode(addresses)]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # Somebody else's member of that name.
    return []


def render_citation(citation: Citation, before: int = 0) -> Json:
    """A citation's members; places count from ``before``."""
    start, end = citation.start, citation.end
    if start is None or end is None or start < before:
        start = end = before
    return {
        "url": citation.url,
        "title": citation.title,
        "start_index": start - before,
        "end_index": end - before,
    }
