"""Random expressions that pass the type check, and random facts, from a seed: for engines to be held together.

They lean on what engines get wrong: unknown facts under ``&&`` and ``||``, numbers at the ends of 64 bits, signs of
divisions, escapes, empty texts, patterns.
"""

import random
from collections.abc import Mapping

from policies.cel import SCHEMA
from policies.cel.python import Value

WHOLE = ("0", "1", "-1", "2", "7", "-7", "100", "9223372036854775807", "-9223372036854775808")
FRACTIONS = ("0.0", "1.0", "-0.5", "0.8", "2.5", "1e300", "-1e-300", "7.0")
TEXTS = (
    '""',
    '"eu"',
    "'gpt-5.5'",
    '"g\\u0070t"',
    r'r"a\d"',
    '"""e\nu"""',
    '"grün"',
    '"a\\n\\"b\\""',
)
PATTERNS = ('"^eu$"', '"[0-9]+"', r'r"\d\.\d"', '""', '"(?i)GPT"', '"u|x"', '"^$"')
FACT_TEXTS = ("", "eu", "gpt-5.5", "us", "a\\d", "grün", 'a\n"b"', "e\nu")
WORDS = ("eu", "gpt-5.5", "tools", "personal", "")


class Writer:
    """Writes expressions and facts; the same from the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def truth(self, depth: int = 4) -> str:
        """A condition."""
        pick, inner = self._random.choice, depth - 1
        if depth <= 0:
            return pick(("true", "false", *_facts("truth")))
        match self._random.randrange(12):
            case 0 | 1:
                return f"({self.truth(inner)} && {self.truth(inner)})"
            case 2 | 3:
                return f"({self.truth(inner)} || {self.truth(inner)})"
            case 4:
                return f"!({self.truth(inner)})"
            case 5:
                return f"({self.truth(inner)} ? {self.truth(inner)} : {self.truth(inner)})"
            case 6:
                return f"({self.truth(0)} {pick(('==', '!='))} {self.truth(inner)})"
            case 7:
                return f"({self.text()} {self._comparison()} {self.text()})"
            case 8:
                return self._text_test()
            case 9:
                return self._membership()
            case _:
                number = pick((self.whole, self.fraction))
                return f"({number(depth)} {self._comparison()} {number(depth)})"

    def whole(self, depth: int) -> str:
        """A whole number."""
        pick = self._random.choice
        if depth <= 1 or self._random.random() < 0.4:
            sized = pick((*_facts("texts"), *_facts("text")))
            return pick((*_facts("int"), *WHOLE, pick(WHOLE), f"size({sized})"))
        if self._random.random() < 0.1:
            return f"-({self.whole(depth - 1)})"
        return f"({self.whole(depth - 1)} {pick('+-*/%')} {self.whole(depth - 1)})"

    def fraction(self, depth: int) -> str:
        """A number with a fraction."""
        pick = self._random.choice
        if depth <= 1 or self._random.random() < 0.4:
            return pick((*_facts("double"), *FRACTIONS))
        if self._random.random() < 0.1:
            return f"-({self.fraction(depth - 1)})"
        return f"({self.fraction(depth - 1)} {pick('+-*/')} {self.fraction(depth - 1)})"

    def text(self) -> str:
        """A text."""
        return self._random.choice((*_facts("text"), *TEXTS))

    def facts(self) -> Mapping[str, Value]:
        """A value for each fact; who may be unknown often is."""
        pick = self._random.choice
        made: dict[str, Value] = {}
        for path, (kind, _, may_be_unknown) in SCHEMA.items():
            if may_be_unknown and self._random.random() < 0.5:
                made[path] = None
            elif kind == "text":
                made[path] = pick(FACT_TEXTS)
            elif kind == "int":
                made[path] = pick((0, 1, 7, 100, -7, 2**63 - 1, -(2**63)))
            elif kind == "double":
                made[path] = pick((0.0, -0.5, 0.8, 2.5, 1e300, 7.0))
            elif kind == "truth":
                made[path] = pick((True, False))
            else:
                made[path] = frozenset(self._random.sample(WORDS, self._random.randrange(3)))
        return made

    def _comparison(self) -> str:
        return self._random.choice(("==", "!=", "<", "<=", ">", ">="))

    def _text_test(self) -> str:
        pick = self._random.choice
        subject = pick(_facts("text"))
        if self._random.random() < 0.3:
            return f"{subject}.matches({pick(PATTERNS)})"
        return f"{subject}.{pick(('startsWith', 'endsWith', 'contains'))}({self.text()})"

    def _membership(self) -> str:
        pick = self._random.choice
        match self._random.randrange(3):
            case 0:
                return f"({self.text()} in {pick(_facts('texts'))})"
            case 1:
                return f"({self.text()} in [{pick(TEXTS)}, {pick(TEXTS)}])"
            case _:
                return f"({self.whole(2)} in [{pick(WHOLE)}, {pick(WHOLE)}])"


def _facts(kind: str) -> tuple[str, ...]:
    return tuple(path for path, (its, _, _) in SCHEMA.items() if its == kind)
