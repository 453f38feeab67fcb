"""Stand-ins for whoever proves policies, for tests about something else."""

from collections.abc import Sequence

from gateway.policy_store import Proved
from policies.document import PolicyDocument


async def ask_nothing(documents: Sequence[PolicyDocument]) -> Proved:
    """Nothing was looked at: the gateway that takes it up does."""
    del documents
    return Proved()


async def refute(documents: Sequence[PolicyDocument]) -> Proved:
    """No claim holds."""
    return Proved(gaps={one.digest: [f"refuted: all of {one.name}"] for one in documents})
