"""How many tokens a prompt has: the count of the target that would answer it, or an estimate.

Promises: the prompt is classified and decided as for an answer, and goes nowhere else; nothing is billed.
"""

from backends.wire.counting import COUNTS
from gateway.arrival import Reply
from gateway.attempts import Attempts, answer_headers
from gateway.case import Case, Ending
from policies.facts import FAILURE_WORDS


async def count_tokens(case: Case, attempts: Attempts, reply: Reply, ending: Ending) -> None:
    """Answer with the first choice's own count; with an estimate if it has none, or does not give it."""
    target = case.routing.get_target(case.decision.kept[0].target)
    adapter = case.routing.adapters[target.adapter]
    if adapter.find_counter(target) is not None:
        ending.failure = await attempts.run()
        ending.state = "answered" if ending.failure is None else "failed"
        if ending.failure is None or ending.failure.kind not in FAILURE_WORDS:
            return
    ending.failure, ending.state, ending.target = None, "answered", target.name
    headers = answer_headers(case, ending, target.name, b"application/json")
    headers.append((b"x-moegate-tokens", b"estimated"))
    tokens = case.sizes.input_tokens_estimate
    await reply.whole(200, headers, COUNTS[case.prompt.format].render_count(tokens))
