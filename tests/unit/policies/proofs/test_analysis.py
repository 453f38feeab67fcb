"""What is told of rules without effect, and how long may be looked for them."""

from policies.check import STAND_INS
from policies.document import parse_policy
from policies.proofs.analysis import analyse
from policies.proofs.verify import Prover

IDLE = """
policy: idle
constraints:
  - {name: never, when: '"a" in labels && !("a" in labels)', require: 'target.boundary == "self_hosted"'}
labels: {a: {detect: [pii.email]}}
"""


def test_a_search_ends_with_its_time() -> None:
    """With time the idle rule is told; without any nothing is looked at, and that is told instead."""
    document = parse_policy(IDLE, source="test")
    found = list(analyse(Prover(document, STAND_INS, ["pii.email"])))
    assert found == ["constraint `never`: its `when` never holds"]
    late = Prover(document, STAND_INS, ["pii.email"], seconds_left=lambda: 0.0)
    assert list(analyse(late)) == ["not everything was looked at: the time was up"]
