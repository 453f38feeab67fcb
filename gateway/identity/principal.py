"""Who asks, with everything that the pipeline wants to know about it."""

import msgspec

from gateway.admission import Limit
from policies.facts import DataClass


class Principal(msgspec.Struct, frozen=True):
    """The holder of one key. ``data_class`` is what its prompts are at least; ``residency`` is where
    the organisation's data must stay (``eu``) or empty."""

    key_id: str
    key_name: str
    team_id: str
    team: str
    organisation_id: str
    organisation: str
    residency: str
    data_class: DataClass
    roles: frozenset[str]
    budgets: tuple[Limit, ...]
    requests_per_minute: int | None
