"""What one kept answer is, its key, and its seal.

Promises: the key binds the whole request body, the policy version, the labels and the data class, under
a secret of the organisation, so that nobody outside can tell whether a prompt was asked before and a
changed policy finds nothing old. Entries are sealed (:mod:`gateway.sealing`); one that does not open is a miss.
"""

import hashlib
import hmac

import msgspec

from backends.wire.prompt import Prompt
from gateway.sealing import Sealer
from policies.facts import Decision


class CacheEntry(msgspec.Struct, frozen=True):
    """An answer as it went to the client. ``chunks``: one for a plain answer, else as streamed."""

    target: str
    model: str
    content_type: str
    chunks: tuple[bytes, ...]
    dropped: tuple[str, ...] = ()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(CacheEntry)


def seal_entry(sealer: Sealer, organisation_id: str, key: bytes, entry: CacheEntry) -> bytes:
    """The entry as it is kept under ``key``."""
    return sealer.seal(organisation_id, "cache", key, _ENCODER.encode(entry))


def open_entry(
    sealer: Sealer, organisation_id: str, key: bytes, sealed: bytes
) -> CacheEntry | None:
    """The entry, or None if it was not sealed by us for this organisation and key."""
    plain = sealer.open(organisation_id, "cache", key, sealed)
    try:
        return None if plain is None else _DECODER.decode(plain)
    except msgspec.DecodeError:
        return None


def cache_key(
    sealer: Sealer, organisation_id: str, prompt: Prompt, decision: Decision, data_class: str
) -> bytes:
    """Redis key of the answer to ``prompt``: in the organisation's slot, 256 bits of HMAC over the body and
    what else the answer depends on."""
    mac = hmac.new(sealer.name_key(organisation_id, "cache"), digestmod=hashlib.sha256)
    asked = msgspec.json.encode(prompt.asked).decode()
    words = (prompt.format, asked, decision.policy, data_class, *sorted(decision.labels))
    context = "\x1f".join(words).encode()
    mac.update(len(context).to_bytes(4, "big") + context)
    mac.update(prompt.raw)
    return b"mg:{%s}:answer|%s" % (organisation_id.encode(), mac.hexdigest().encode())
