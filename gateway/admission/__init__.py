"""Admission: money is reserved before a call and settled after it; rates are limited; all in one step.

Promises: settled + reserved never passes a hard limit, in any interleaving. A reservation is freed by
settlement alone, never by time. Two implementations, one interface, one suite of tests:
:mod:`gateway.admission.memory` for one process, :mod:`gateway.admission.redis` for many.
"""

from gateway.admission.memory import MemoryAdmission
from gateway.admission.seam import (
    SEED_SECONDS,
    Admission,
    AdmissionDown,
    AdmissionRefused,
    Ask,
    Denied,
    Grant,
    Limit,
    Reservation,
    Seed,
    SeedDown,
    left_reservation,
    rate_window,
    window_of,
    windows_on,
)

__all__ = [
    "SEED_SECONDS",
    "Admission",
    "AdmissionDown",
    "AdmissionRefused",
    "Ask",
    "Denied",
    "Grant",
    "Limit",
    "MemoryAdmission",
    "Reservation",
    "Seed",
    "SeedDown",
    "left_reservation",
    "rate_window",
    "window_of",
    "windows_on",
]
