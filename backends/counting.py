"""Providers' own counts of a prompt's tokens: the request for an answer, sent to the address that counts.

Promises: what is counted is what would be sent for an answer, in the target's format; a count costs nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from backends.adapter import Outbound, Terms
from backends.target import Target
from backends.wire.counting import COUNTS
from backends.wire.failure import Failure, WireError
from backends.wire.json_patch import apply_edits, find_members, removals
from backends.wire.outcome import Answer, Outcome, StreamRelay
from backends.wire.prompt import Prompt, WireFormat
from backends.wire.usage import NOTHING_USED

_NUMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBER = msgspec.json.Decoder(int)
TOKENS_MAX = 2**31 - 1

Prepare = Callable[[Prompt, Target, Terms], Outbound]
ReadError = Callable[[int, Mapping[str, str], bytes], Failure]


@dataclass(frozen=True, slots=True)
class Counter:
    """See :class:`backends.adapter.ProviderAdapter`; its answers are numbers.

    ``own`` is the provider's format: to clients of it, its answer passes as it came. ``member`` holds the number.
    """

    own: WireFormat
    member: str
    make: Prepare
    read_error: ReadError
    load: None = None

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return self.make(prompt, target, msgspec.structs.replace(terms, output_cap=None))

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """Never asked for: a number is not streamed."""
        raise NotImplementedError

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """See :class:`backends.adapter.ProviderAdapter`."""
        del target
        tokens = self._read(body)
        if prompt.format != self.own:
            body = COUNTS[prompt.format].render_count(tokens)
        return Answer(body, Outcome(is_complete=True, usage=NOTHING_USED))

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See :class:`backends.adapter.ProviderAdapter`."""
        return self.read_error(status, headers, body)

    def find_counter(self, target: Target) -> "Counter":
        """See :class:`backends.adapter.ProviderAdapter`."""
        del target
        return self

    def _read(self, body: bytes) -> int:
        try:
            tokens = _NUMBER.decode(_NUMBERS.decode(body)[self.member])
        except (msgspec.DecodeError, UnicodeError, RecursionError, KeyError) as error:
            raise _broken(f"a count that cannot be read: {error}") from error
        if not 0 <= tokens <= TOKENS_MAX:
            raise _broken("a count that cannot be")
        return tokens


def keep_members(raw: bytes, names: frozenset[str]) -> bytes:
    """The object without all other members; what stays is byte-equal."""
    spans = find_members(raw)
    return apply_edits(raw, removals(raw, spans, frozenset(spans) - names))


def _broken(detail: str) -> WireError:
    message = "the provider's count is broken"
    return WireError(Failure("upstream_failed", message, detail=detail))
