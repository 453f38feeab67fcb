"""The permit without which no prompt-bearing byte leaves.

The gateway mints a :class:`Verdict` over the rendered body, the target and the privacy class after
the policy decided; the transport checks it against what it is about to send. The type stands here
because both sides need it and neither may import the other.
"""

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """Permission to send one body to one target.

    ``body`` is the rendered body itself: bytes cannot change, so being the same object proves more than
    an equal digest, and costs nothing. ``target`` is its name in the catalogue, ``labels`` what the
    prompt was found to be, ``policy`` name@version that decided.
    """

    body: bytes
    target: str
    labels: frozenset[str]
    policy: str
