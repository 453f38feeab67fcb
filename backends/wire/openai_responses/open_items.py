"""Items of a response while they are open: what stands around their deltas, made once.

Events of an item differ in their delta and their number only; :mod:`rendering` puts the two between ``prefix`` and
``suffix``.
"""

import orjson

from backends.wire.events import TokenLogprob
from backends.wire.openai_chat.logprobs import render_delta, render_part


class OpenMessage:
    """A message: parts that are done, and the one that grows."""

    __slots__ = (
        "annotations", "at", "id", "kind", "logprobs", "parts", "pieces", "place", "prefix", "suffix", "word",
    )  # fmt: skip

    def __init__(self, item_id: str, at: int) -> None:
        self.id = orjson.dumps(item_id)
        self.at = at
        self.parts: list[bytes] = []
        self.pieces: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.annotations: list[bytes] = []
        self.kind = ""
        self.word = b""
        """The member that holds a part's text."""
        self.place = self.prefix = self.suffix = b""

    def begin_part(self, kind: str) -> None:
        """A part of type ``kind``: ``output_text`` or ``refusal``."""
        self.kind, self.pieces, self.logprobs, self.annotations = kind, [], [], []
        self.word = b"text" if kind == "output_text" else b"refusal"
        self.place = b'"item_id":%b,"output_index":%d,"content_index":%d' % (
            self.id, self.at, len(self.parts),
        )  # fmt: skip
        name = b"response.%b.delta" % kind.encode()
        self.prefix = b'event: %b\ndata: {"type":"%b",%b,"delta":' % (name, name, self.place)
        self.suffix = b',"logprobs":[],"sequence_number":'
        if kind == "refusal":
            self.suffix = b',"sequence_number":'

    def part(self, text: bytes) -> bytes:
        """The part with this text (JSON)."""
        if self.kind == "refusal":
            return b'{"type":"refusal","refusal":%b}' % text
        logprobs = orjson.dumps(render_part(self.logprobs))
        return b'{"type":"output_text","annotations":[%b],"logprobs":%b,"text":%b}' % (
            b",".join(self.annotations), logprobs, text,
        )  # fmt: skip

    def annotate(self, annotation: bytes) -> bytes:
        """Members of the event that adds ``annotation`` to the text before."""
        number = len(self.annotations)
        self.annotations.append(annotation)
        return b'%b,"annotation_index":%d,"annotation":%b' % (self.place, number, annotation)

    def add_logprobs(self, tokens: list[TokenLogprob]) -> bytes:
        """What stands around the number of an event that says them of the text before."""
        self.logprobs += tokens
        said = orjson.dumps(render_delta(tokens))
        return b'%b"","logprobs":%b,"sequence_number":' % (self.prefix, said)

    def part_event(self, text: bytes) -> bytes:
        """Members of the events that say that the part begins (no text) or is done."""
        return b'%b,"part":%b' % (self.place, self.part(text or b'""'))

    def begun(self) -> bytes:
        """The item when it begins."""
        return self._item(b"", "in_progress")

    def done(self, status: str) -> bytes:
        """The item when it is done."""
        return self._item(b",".join(self.parts), status)

    def _item(self, content: bytes, status: str) -> bytes:
        return b'{"id":%b,"type":"message","status":"%b","role":"assistant","content":[%b]}' % (
            self.id, status.encode(), content,
        )  # fmt: skip


class OpenReasoning:
    """A piece of thinking, and its signature once that came."""

    __slots__ = ("_own", "at", "id", "pieces", "place", "prefix", "signature", "suffix")

    def __init__(self, item_id: str, at: int, own_id: str | None) -> None:
        """``own_id``: the provider's name for it."""
        self._own = own_id
        self.id = orjson.dumps(item_id)
        self.at = at
        self.pieces: list[str] = []
        self.signature: str | None = None
        self.place = self.prefix = self.suffix = b""

    def is_other(self, own_id: str | None) -> bool:
        """Whether a delta that its provider gives this name belongs to another piece."""
        return own_id is not None and self._own is not None and own_id != self._own

    def begin_part(self) -> None:
        """Its text begins."""
        self.place = b'"item_id":%b,"output_index":%d,"summary_index":0' % (self.id, self.at)
        self.prefix = (
            b"event: response.reasoning_summary_text.delta\n"
            b'data: {"type":"response.reasoning_summary_text.delta",%b,"delta":' % self.place
        )
        self.suffix = b',"sequence_number":'

    def part_event(self, text: bytes) -> bytes:
        """Members of the events that say that the text begins or is done."""
        return b'%b,"part":{"type":"summary_text","text":%b}' % (self.place, text)

    def item(self, summary: bytes) -> bytes:
        """The item with these parts as its summary."""
        signed = b""
        if self.signature is not None:
            signed = b',"encrypted_content":' + orjson.dumps(self.signature)
        return b'{"id":%b,"type":"reasoning","summary":[%b]%b}' % (self.id, summary, signed)


class OpenCall:
    """A call of a function."""

    __slots__ = ("_call", "_name", "at", "id", "is_done", "pieces", "place", "prefix", "suffix")

    def __init__(self, item_id: str, at: int, call_id: str, name: str) -> None:
        self.id = orjson.dumps(item_id)
        self.at = at
        self.pieces: list[str] = []
        self.is_done = False
        self._call = orjson.dumps(call_id)
        self._name = orjson.dumps(name)
        self.place = b'"item_id":%b,"output_index":%d' % (self.id, at)
        self.prefix = (
            b"event: response.function_call_arguments.delta\n"
            b'data: {"type":"response.function_call_arguments.delta",%b,"delta":' % self.place
        )
        self.suffix = b',"sequence_number":'

    def done(self, arguments: bytes) -> bytes:
        """Members of the event that says that the arguments (a JSON text) are whole."""
        return b'%b,"name":%b,"arguments":%b' % (self.place, self._name, arguments)

    def item(self, arguments: bytes, status: str) -> bytes:
        """The item with these arguments."""
        return (
            b'{"id":%b,"type":"function_call","status":"%b","call_id":%b,"name":%b,"arguments":%b}'
            % (self.id, status.encode(), self._call, self._name, arguments)
        )
