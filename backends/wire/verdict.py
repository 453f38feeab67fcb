"""The permit without which no prompt-bearing byte leaves.

The gateway mints a :class:`Verdict` over the rendered body, the target and the privacy class after
the policy decided; the transport checks it against what it is about to send. The type stands here
because both sides need it and neither may import the other.
"""

import hashlib

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """Permission to send one body to one target.

    ``body_digest`` is the SHA-256 of the rendered body, ``target`` its name in the catalogue,
    ``labels`` what the prompt was found to be, ``policy`` name@version that decided.
    """

    body_digest: bytes
    target: str
    labels: frozenset[str]
    policy: str


def digest_body(body: bytes) -> bytes:
    """SHA-256 of a rendered body (32 bytes): with the CPU's own instructions the fastest at hand."""
    return hashlib.sha256(body).digest()
