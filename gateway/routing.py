"""The snapshot a request is routed with: catalogue, policy and adapters that belong together.

Promises: a snapshot is immutable, and a change swaps one reference, so that a request sees one state of
the world from its first look to its last. A policy that parses fits every catalogue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from backends.adapter import ProviderAdapter
from backends.catalogue import Catalogue, find_hosts
from backends.target import Target
from gateway.errors import Refused, refuse
from gateway.facts import target_facts
from gateway.settings import nearest
from policies.compile import CompiledPolicy, compile_policy
from policies.document import PolicyDocument
from policies.facts import TargetFacts

Prefer = Literal["policy", "cheap", "best", "private"]

AUTO: Mapping[str, Prefer] = {
    "auto": "policy",
    "auto:cheap": "cheap",
    "auto:best": "best",
    "auto:private": "private",
}
"""Model names that leave the choice to the policy, and what they ask of it."""


@dataclass(frozen=True, slots=True)
class Routing:
    """One state of the world. ``facts[i]`` and ``targets[i]`` are the same target."""

    catalogue: Catalogue
    targets: tuple[Target, ...]
    facts: tuple[TargetFacts, ...]
    positions: Mapping[str, int]
    auto: tuple[int, ...]
    policy: CompiledPolicy
    adapters: Mapping[str, ProviderAdapter]

    def find_candidates(self, request_model: str) -> tuple[Sequence[int], Prefer]:
        """Positions of the targets that ``request_model`` may mean, and what it prefers.

        Raises ``Refused`` (``model_not_found``) for a name that nothing answers to.
        """
        prefer = AUTO.get(request_model)
        if prefer is not None:
            return self.auto, prefer
        found = self.catalogue.find(request_model)
        if not found:
            raise self._refuse_model(request_model)
        return [self.positions[target.name] for target in found], "policy"

    def _refuse_model(self, request_model: str) -> Refused:
        off = [
            host for host in find_hosts(request_model) if host[0] not in self.catalogue.endpoints
        ]
        if off:
            ways = " or ".join(f"`{variable}` for `{provider}`" for provider, variable in off)
            words = f"is known, but its provider is off: set {ways}"
        else:
            known = (*AUTO, *(target.name for target in self.targets))
            words = f"does not exist or is not visible to this key{nearest(request_model, known)}"
        return refuse(
            "model_not_found",
            f"the model `{request_model[:100]}` {words}",
            code="model_not_found",
            param="model",
        )

    def get_target(self, name: str) -> Target:
        """The target called ``name``; raises ``KeyError``."""
        return self.targets[self.positions[name]]


def make_routing(
    catalogue: Catalogue, document: PolicyDocument, adapters: Mapping[str, ProviderAdapter]
) -> Routing:
    """A snapshot from its parts."""
    facts = tuple(target_facts(target) for target in catalogue.targets)
    positions = {target.name: at for at, target in enumerate(catalogue.targets)}
    return Routing(
        catalogue=catalogue,
        targets=catalogue.targets,
        facts=facts,
        positions=positions,
        auto=tuple(positions[target.name] for target in catalogue.auto),
        policy=compile_policy(document, facts),
        adapters=adapters,
    )


class RoutingTable:
    """Holds the present snapshot; readers take ``current`` once a request."""

    __slots__ = ("current",)

    def __init__(self, current: Routing) -> None:
        self.current = current

    def swap_policy(self, document: PolicyDocument) -> None:
        """Route by ``document`` from now on, to the same catalogue."""
        now = self.current
        self.current = make_routing(now.catalogue, document, now.adapters)

    def swap_catalogue(self, catalogue: Catalogue, adapters: Mapping[str, ProviderAdapter]) -> None:
        """Route to ``catalogue`` from now on, under the same policy."""
        self.current = make_routing(catalogue, self.current.policy.document, adapters)
