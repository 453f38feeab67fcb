"""The snapshot a request is routed with: catalogue, policy and adapters that belong together.

Promises: a snapshot is immutable, and a change swaps one reference, so that a request sees one state of
the world from its first look to its last. A policy that parses fits every catalogue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, Protocol

from backends.adapter import ProviderAdapter
from backends.catalogue import Catalogue, find_hosts
from backends.target import Target
from gateway.errors import Bug, Refused, refuse
from gateway.facts import target_facts
from gateway.policy_store.activation import KEY, ORGANISATION, TEAM
from gateway.settings import nearest
from policies.certificate import Certificate, digest_target, digest_targets
from policies.compile import CompiledPolicy, compile_policy
from policies.document import PolicyDocument
from policies.facts import TargetFacts
from policies.inherit import Level, Levels, label_version

Prefer = Literal["policy", "cheap", "best", "private"]

AUTO: Mapping[str, Prefer] = {
    "auto": "policy",
    "auto:cheap": "cheap",
    "auto:best": "best",
    "auto:private": "private",
}
"""Model names that leave the choice to the policy, and what they ask of it."""


UNPROVEN = "-unproven"
"""What stands behind the label of a policy that is in force without a proof, in each answer and record."""

CHOSEN_MAX = 50_000
"""Keys whose policy is remembered."""

MOVED_SECONDS = 2.0
"""When a key that moved may come back: its policies are put together within about a second."""

Place = tuple[str, str, str]
"""A key with its team and its organisation, for keys can move."""

Chains = Mapping[tuple[int, ...], CompiledPolicy]
"""Policies by the versions that they are made of, from the base down."""


class Asker(Protocol):
    """What chooses the policy of a request."""

    @property
    def key_id(self) -> str: ...
    @property
    def team_id(self) -> str: ...
    @property
    def organisation_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Routing:
    """One state of the world. ``facts[i]`` and ``targets[i]`` are the same target.

    ``policy`` is the base for everybody; ``chains`` has the policy of each key that has an overlay or a canary, by
    what ``levels`` says, and is empty where there are none. ``chosen`` remembers each key's. ``unproved`` are the
    labels of those that should be proved of these targets, and are not.
    """

    catalogue: Catalogue
    targets: tuple[Target, ...]
    facts: tuple[TargetFacts, ...]
    positions: Mapping[str, int]
    auto: tuple[int, ...]
    policy: CompiledPolicy
    adapters: Mapping[str, ProviderAdapter]
    levels: Levels
    chains: Chains
    chosen: dict[Place, CompiledPolicy]
    unproved: tuple[str, ...]

    def policy_for(self, asker: Asker) -> CompiledPolicy:
        """The policy that decides for who asks. Raises ``Refused`` for a key with an overlay that has just moved to
        another team: its levels are put together, and proved, first."""
        if not self.chains:
            return self.policy
        place = (asker.key_id, asker.team_id, asker.organisation_id)
        found = self.chosen.get(place)
        if found is None:
            scopes = (
                ORGANISATION + asker.organisation_id,
                TEAM + asker.team_id,
                KEY + asker.key_id,
            )
            found = self.chains.get(self.levels.chain(asker.key_id, scopes))
            if found is None:
                raise refuse(
                    "overloaded",
                    "this key has moved, and the policies of where it is now are not in force together yet; try again "
                    "later, or an administrator has to look (`moegate policy status`)",
                    retry_after_seconds=MOVED_SECONDS,
                )
            if len(self.chosen) >= CHOSEN_MAX:
                self.chosen.clear()
            self.chosen[place] = found
        return found

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


def compile_levels(levels: Levels, facts: tuple[TargetFacts, ...]) -> Chains:
    """Every policy that a key may have, fitted to the targets; one that is in force without a proof says so in its
    label, and uses no target that none of its proofs covers, unless somebody wanted it so; who wanted an overlay so
    does not speak for the levels above it.

    Raises ``PolicyError`` if some do not go together.
    """
    catalogue = digest_targets(facts)
    merged = levels.merged()
    return {chain: _compile(levels, chain, merged, facts, catalogue) for chain in merged}


def _compile(
    levels: Levels,
    chain: tuple[int, ...],
    merged: Mapping[tuple[int, ...], PolicyDocument],
    facts: tuple[TargetFacts, ...],
    catalogue: str,
) -> CompiledPolicy:
    document, held_back = merged[chain], frozenset[str]()
    wanted = tuple(takewhile(lambda version: version not in levels.unproven, chain))
    is_unproven = wanted != chain
    if levels.certificates is not None and wanted:
        digest = merged[wanted].digest
        known = levels.certificates.get(digest, ())
        if not any(one.is_valid_for(digest, catalogue) for one in known):
            is_unproven, held_back = True, find_uncovered(known, facts)
    version = label_version(document) + (UNPROVEN if is_unproven else "")
    return compile_policy(document, facts, version=version, held_back=held_back)


def find_uncovered(known: Sequence[Certificate], facts: tuple[TargetFacts, ...]) -> frozenset[str]:
    """The targets of which nothing is proved, by name."""
    return frozenset(
        target.name
        for target in facts
        if not any(one.covers(digest_target(target)) for one in known)
    )


def plain(document: PolicyDocument) -> Levels:
    """One document for everybody."""
    return Levels(Level(0, document))


def make_routing(
    catalogue: Catalogue,
    levels: Levels,
    adapters: Mapping[str, ProviderAdapter],
    chains: Chains | None = None,
    facts: tuple[TargetFacts, ...] | None = None,
) -> Routing:
    """A snapshot from its parts; ``chains`` if they were compiled before, for the facts of this catalogue.

    Raises ``PolicyError`` for levels that do not go together.
    """
    if facts is None:
        facts = tuple(target_facts(target) for target in catalogue.targets)
    if chains is None:
        chains = compile_levels(levels, facts)
    if any(one.targets is not facts for one in chains.values()):
        # INVARIANT: policies know targets by their places among ``facts``.
        raise Bug("policies are compiled for other targets")
    positions = {target.name: at for at, target in enumerate(catalogue.targets)}
    return Routing(
        catalogue=catalogue,
        targets=catalogue.targets,
        facts=facts,
        positions=positions,
        auto=tuple(positions[target.name] for target in catalogue.auto),
        policy=chains[levels.base.arms()[0]],
        adapters=adapters,
        levels=levels,
        chains={} if levels.is_plain else chains,
        chosen={},
        unproved=tuple(
            one.label
            for chain, one in chains.items()
            if one.label.endswith(UNPROVEN) and not levels.unproven & set(chain)
        ),
    )


class RoutingTable:
    """Holds the present snapshot; readers take ``current`` once a request."""

    __slots__ = ("current",)

    def __init__(self, current: Routing) -> None:
        self.current = current

    def swap_policies(self, levels: Levels, chains: Chains) -> None:
        """Route by ``levels`` from now on, to the same catalogue; ``chains`` are compiled for its ``facts``."""
        now = self.current
        self.current = make_routing(now.catalogue, levels, now.adapters, chains, now.facts)

    def swap_catalogue(
        self,
        catalogue: Catalogue,
        adapters: Mapping[str, ProviderAdapter],
        levels: Levels,
        chains: Chains,
        facts: tuple[TargetFacts, ...],
    ) -> None:
        """Route to ``catalogue`` from now on, by ``levels`` as compiled for its ``facts``."""
        self.current = make_routing(catalogue, levels, adapters, chains, facts)
