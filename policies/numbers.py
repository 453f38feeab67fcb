"""The numbers of targets as expressions see them: a quote → the facts of ``QUOTE_FACTS``, made when first
asked for, once a decision."""

from collections.abc import Mapping, Sequence

from policies.compile import CompiledPolicy, QuoteRow
from policies.facts import EMBED, Facts, Quote

CONTEXT_SLACK = 2
"""The estimate of 4 bytes a token can be high by this much (code, tables, repeated text): a prompt is
struck for its length only when it is hopeless; the host decides what lies between."""


class Numbers:
    """The numbers of the targets ``asked`` for, by position; ``quotes`` holds them by name."""

    __slots__ = ("_facts", "_policy", "_rows", "quotes")

    def __init__(
        self,
        policy: CompiledPolicy,
        facts: Facts,
        asked: Sequence[int],
        quotes: Mapping[str, Quote],
    ) -> None:
        self._policy = policy
        self._facts = facts
        self._rows: dict[int, QuoteRow] | None = None
        targets = policy.targets
        self.quotes = {at: quotes[targets[at].name] for at in asked}

    def rows(self) -> Mapping[int, QuoteRow]:
        """What expressions see of them, in the order of ``QUOTE_FACTS``."""
        if self._rows is None:
            policy = self._policy
            capable = able(policy, self._facts) & roomy(policy, self._facts)
            self._rows = policy.quote_rows(self.quotes, capable, policy.attempts_max)
        return self._rows


def able(policy: CompiledPolicy, facts: Facts) -> int:
    """The targets that can do what the request needs; who gives vectors gives nothing else."""
    mask = policy.everyone
    for need in facts.needs:
        mask &= policy.can.get(need, 0)
    return mask if EMBED in facts.needs else mask & ~policy.can[EMBED]


def roomy(policy: CompiledPolicy, facts: Facts) -> int:
    """The targets whose context may hold the request."""
    tokens = tokens_of(facts)
    if tokens <= policy.context_tokens_least * CONTEXT_SLACK:
        return policy.everyone
    return sum(
        1 << at
        for at, target in enumerate(policy.targets)
        if tokens <= target.context_tokens_max * CONTEXT_SLACK
    )


def tokens_of(facts: Facts) -> int:
    """What has to fit into a context, in tokens, as estimated."""
    return facts.context_tokens_estimate or facts.input_tokens_estimate
