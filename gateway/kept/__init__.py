"""Kept responses: what clients of OpenAI's Responses go on from, look up and delete.

In SQL, sealed, one team's apart from another's. :mod:`store` reads and writes rows; :mod:`conversation` says what a
request that goes on stands for, and keeps answers.
"""

from gateway.kept.conversation import KeptResponses
from gateway.kept.store import PURGE_ROWS_MAX, KeptResponse, KeptStore, Scope

__all__ = ["PURGE_ROWS_MAX", "KeptResponse", "KeptResponses", "KeptStore", "Scope"]
