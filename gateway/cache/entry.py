"""What one kept answer is, its key, and its seal.

Promises: the key binds the whole request body, the policy version, the labels and the data class, under
a secret of the organisation, so that nobody outside can tell whether a prompt was asked before and a
changed policy finds nothing old. Entries are sealed with AES-256-GCM under a key derived from the
master key and the organisation; an entry that does not open is a miss.
"""

import hashlib
import hmac
import os
from collections import OrderedDict

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backends.wire.prompt import Prompt
from policies.facts import Decision

NONCE_BYTES = 12
TENANTS_MAX = 1024


class CacheEntry(msgspec.Struct, frozen=True):
    """An answer as it went to the client. ``chunks``: one for a plain answer, else as streamed."""

    target: str
    model: str
    content_type: str
    chunks: tuple[bytes, ...]
    dropped: tuple[str, ...] = ()


class Sealer:
    """Keys of tenants, derived from the master key with BLAKE2b (keyed, personalised by use)."""

    def __init__(self, master_key: bytes) -> None:
        self._master = hashlib.blake2b(
            master_key, digest_size=32, person=b"moegate.master"
        ).digest()
        self._ciphers: OrderedDict[str, tuple[bytes, AESGCM]] = OrderedDict()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(CacheEntry)

    def _keys(self, organisation_id: str) -> tuple[bytes, AESGCM]:
        found = self._ciphers.get(organisation_id)
        if found is None:
            tenant = organisation_id.encode()
            seal = hashlib.blake2b(tenant, key=self._master, digest_size=32, person=b"cache.seal")
            name = hashlib.blake2b(tenant, key=self._master, digest_size=32, person=b"cache.name")
            found = (name.digest(), AESGCM(seal.digest()))
            self._ciphers[organisation_id] = found
            if len(self._ciphers) > TENANTS_MAX:
                self._ciphers.popitem(last=False)
        return found

    def name_key(self, organisation_id: str) -> bytes:
        """The secret under which the organisation's cache keys are made."""
        return self._keys(organisation_id)[0]

    def seal(self, organisation_id: str, key: bytes, entry: CacheEntry) -> bytes:
        """Nonce and ciphertext; ``key`` is bound as associated data."""
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._keys(organisation_id)[1]
        return nonce + cipher.encrypt(nonce, self._encoder.encode(entry), key)

    def open(self, organisation_id: str, key: bytes, sealed: bytes) -> CacheEntry | None:
        """The entry, or None if it was not sealed by us for this organisation and key."""
        cipher = self._keys(organisation_id)[1]
        try:
            plain = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], key)
            return self._decoder.decode(plain)
        except (InvalidTag, ValueError, msgspec.DecodeError):
            return None


def cache_key(
    sealer: Sealer, organisation_id: str, prompt: Prompt, decision: Decision, data_class: str
) -> bytes:
    """Redis key of the answer to ``prompt``: in the organisation's slot, 256 bits of HMAC over the body and
    what else the answer depends on."""
    mac = hmac.new(sealer.name_key(organisation_id), digestmod=hashlib.sha256)
    asked = msgspec.json.encode(prompt.asked).decode()
    words = (prompt.format, asked, decision.policy, data_class, *sorted(decision.labels))
    context = "\x1f".join(words).encode()
    mac.update(len(context).to_bytes(4, "big") + context)
    mac.update(prompt.raw)
    return b"mg:{%s}:answer|%s" % (organisation_id.encode(), mac.hexdigest().encode())
