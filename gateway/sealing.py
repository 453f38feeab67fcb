"""Keys of tenants: what is kept of an organisation's content is sealed under keys of its own.

Promises: AES-256-GCM under a key derived from the master key, the organisation and the use with BLAKE2b (keyed,
personalised by use); where a thing stands is bound as associated data, so that it opens nowhere else.
"""

import hashlib
import os
from collections import OrderedDict
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
KEYS_MAX = 2048
"""So many keys are kept at hand."""

Use = Literal["cache", "kept"]


class Sealer:
    """Seals and opens bytes for organisations."""

    def __init__(self, master_key: bytes) -> None:
        self._master = hashlib.blake2b(
            master_key, digest_size=32, person=b"moegate.master"
        ).digest()
        self._ciphers: OrderedDict[tuple[str, Use], tuple[bytes, AESGCM]] = OrderedDict()

    def _keys(self, organisation_id: str, use: Use) -> tuple[bytes, AESGCM]:
        found = self._ciphers.get((organisation_id, use))
        if found is None:
            name, seal = (
                hashlib.blake2b(
                    organisation_id.encode(),
                    key=self._master,
                    digest_size=32,
                    person=f"{use}.{kind}".encode(),
                ).digest()
                for kind in ("name", "seal")
            )
            found = self._ciphers[organisation_id, use] = (name, AESGCM(seal))
            if len(self._ciphers) > KEYS_MAX:
                self._ciphers.popitem(last=False)
        return found

    def name_key(self, organisation_id: str, use: Use) -> bytes:
        """The secret under which names of the organisation's things are made."""
        return self._keys(organisation_id, use)[0]

    def seal(self, organisation_id: str, use: Use, place: bytes, plain: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._keys(organisation_id, use)[1].encrypt(nonce, plain, place)

    def open(self, organisation_id: str, use: Use, place: bytes, sealed: bytes) -> bytes | None:
        """What was sealed, or None if it was not sealed by us for this organisation, use and place."""
        cipher = self._keys(organisation_id, use)[1]
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except (InvalidTag, ValueError):
            return None
