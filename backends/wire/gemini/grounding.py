"""Sources on the web as Gemini writes them: ``groundingMetadata`` of a search, ``citationMetadata`` of a recitation.

Promises: whatever Google sends is read or named. Google counts bytes of UTF-8, everybody else characters: places are
converted by the answer's text. Source: Google's API reference, ``GroundingMetadata`` and ``CitationMetadata``, and
recorded answers.
"""

import msgspec

from backends.wire.events import Citation

PLACES_MAX = 1024
"""Each costs a look at the whole text; what goes beyond has an address and no place."""

Json = dict[str, object]


class _Web(msgspec.Struct):
    uri: str | None = None
    title: str | None = None


class _Chunk(msgspec.Struct):
    web: _Web | None = None


class _Segment(msgspec.Struct, rename="camel"):
    start_index: int = 0
    end_index: int = 0
    part_index: int = 0


class _Support(msgspec.Struct, rename="camel"):
    segment: _Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class _Grounding(msgspec.Struct, rename="camel"):
    grounding_chunks: list[_Chunk] | None = None
    grounding_supports: list[_Support] | None = None


class _Source(msgspec.Struct, rename="camel"):
    start_index: int = 0
    end_index: int = 0
    uri: str | None = None
    title: str | None = None


class _Citations(msgspec.Struct, rename="camel"):
    citation_sources: list[_Source] | None = None
    citations: list[_Source] | None = None


_GROUNDING = msgspec.json.Decoder(_Grounding)
_CITATIONS = msgspec.json.Decoder(_Citations)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN = frozenset({"groundingChunks", "groundingSupports"})
_NOTHING = frozenset({b"", b"{}", b"[]", b"null"})


def read_grounding(
    raw: msgspec.Raw, text: str, choice: int, dropped: dict[str, None]
) -> list[Citation]:
    """The sources of a search, once for each piece of ``text`` that rests on one."""
    try:
        said, members = _GROUNDING.decode(raw), _MEMBERS.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        dropped["groundingMetadata"] = None
        return []
    for name, value in members.items():
        if name not in _KNOWN and bytes(value) not in _NOTHING:
            dropped[f"groundingMetadata.{name}"] = None
    sources = [None if one.web is None else one.web for one in said.grounding_chunks or ()]
    if any(web is None or not web.uri for web in sources):
        dropped["groundingMetadata.groundingChunks"] = None
    found: list[Citation] = []
    placed: set[int] = set()
    encoded = text.encode("utf-8", "replace")
    for support in (said.grounding_supports or [])[:PLACES_MAX]:
        segment = support.segment or _Segment()
        place = _to_characters(encoded, segment.start_index, segment.end_index)
        for at in support.grounding_chunk_indices or ():
            web = sources[at] if 0 <= at < len(sources) else None
            if place is not None and segment.part_index == 0 and web is not None and web.uri:
                placed.add(at)
                found.append(Citation(web.uri, web.title or "", *place, choice))
    rest = [
        Citation(web.uri, web.title or "", choice=choice)
        for at, web in enumerate(sources)
        if at not in placed and web is not None and web.uri
    ]
    return found + rest


def read_citations(
    raw: msgspec.Raw, text: str, choice: int, dropped: dict[str, None]
) -> list[Citation]:
    """Where words of ``text`` were published before."""
    try:
        said = _CITATIONS.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        dropped["citationMetadata"] = None
        return []
    found: list[Citation] = []
    encoded = text.encode("utf-8", "replace")
    for at, one in enumerate((*(said.citation_sources or ()), *(said.citations or ()))):
        if not one.uri:
            dropped["citationMetadata"] = None
            continue
        place = None
        if at < PLACES_MAX:
            place = _to_characters(encoded, one.start_index, one.end_index)
        start, end = place or (None, None)
        found.append(Citation(one.uri, one.title or "", start, end, choice))
    return found


def _to_characters(encoded: bytes, start: int, end: int) -> tuple[int, int] | None:
    if not 0 <= start < end <= len(encoded):
        return None
    before = len(encoded[:start].decode("utf-8", "ignore"))
    return before, before + len(encoded[start:end].decode("utf-8", "ignore"))


def render_grounding(text: str, citations: list[Citation]) -> Json:
    """A candidate's ``groundingMetadata``: each source once, and the pieces of ``text`` that rest on it."""
    numbers: dict[tuple[str, str], int] = {}
    supports: dict[tuple[int, int], list[int]] = {}
    for at, one in enumerate(citations):
        number = numbers.setdefault((one.url, one.title), len(numbers))
        if at >= PLACES_MAX:
            continue
        if one.start is not None and one.end is not None and one.end <= len(text):
            indices = supports.setdefault((one.start, one.end), [])
            if number not in indices:
                indices.append(number)
    chunks = [{"web": {"uri": url, "title": title}} for url, title in numbers]
    grounding: Json = {"groundingChunks": chunks}
    if supports:
        grounding["groundingSupports"] = [
            {"segment": _segment(text, start, end), "groundingChunkIndices": indices}
            for (start, end), indices in supports.items()
        ]
    return grounding


def _segment(text: str, start: int, end: int) -> Json:
    before = len(text[:start].encode("utf-8", "replace"))
    words = text[start:end]
    size = len(words.encode("utf-8", "replace"))
    return {"startIndex": before, "endIndex": before + size, "text": words}
