"""Accounts: what was asked, what was called, what it cost; journalled first, then in SQL.

Promises: an attempt is journalled before it leaves and again when it ends; whatever kills the process,
replay books each attempt once. Read :mod:`gateway.ledger.journal`, then :mod:`gateway.ledger.shipper`.
"""

from gateway.ledger.flusher import JournalDown
from gateway.ledger.journal import Journal
from gateway.ledger.rows import AttemptRow, HoldRow, RequestRow
from gateway.ledger.schema import migrate, schema_state
from gateway.ledger.shipper import Shipper
from gateway.ledger.spend import booked
from gateway.ledger.store import open_database

__all__ = [
    "AttemptRow",
    "HoldRow",
    "Journal",
    "JournalDown",
    "RequestRow",
    "Shipper",
    "booked",
    "migrate",
    "open_database",
    "schema_state",
]
