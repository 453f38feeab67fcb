"""HTTP/1.1 as far as calling providers needs it: one exchange over a connection, and a pool of connections.

Ours because it stands on the path of every request, where a general client costs more than the rest of the
gateway's work. The grammar is llhttp's (``httptools``), racing of addresses ``aiohappyeyeballs``'s.
"""

from backends.http1.connection import AnswerBroken, Connection, HeadLimits
from backends.http1.head import Headers, Origin, Place, find_place, render_head
from backends.http1.inflate import Inflater
from backends.http1.pool import ConnectFailed, ConnectTimedOut, Pool

__all__ = [
    "AnswerBroken",
    "ConnectFailed",
    "ConnectTimedOut",
    "Connection",
    "HeadLimits",
    "Headers",
    "Inflater",
    "Origin",
    "Place",
    "Pool",
    "find_place",
    "render_head",
]
