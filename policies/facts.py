"""What a decision may look at: frozen values, filled by the gateway, nothing else.

Promises: no I/O, no clock, no randomness; everything here can be stored and decided again later.
"""

from typing import Literal, get_args

import msgspec

DataClass = Literal["public", "internal", "confidential", "restricted"]
DATA_CLASSES: tuple[DataClass, ...] = ("public", "internal", "confidential", "restricted")
"""In rising order: a caller may raise the class, never lower it."""


Boundary = Literal["self_hosted", "external"]
BOUNDARIES: tuple[Boundary, ...] = ("self_hosted", "external")

COST_NANOUSD_MAX = 8 * 10**14
"""The most that a quote says, 800,000 USD, which proofs count with: below ten times this two amounts never share a
double."""

EMBED = "embed"
"""The need of a request for vectors; who has this capability gives vectors only."""
Need = Literal[
    "tools", "images", "audio", "documents", "media_urls", "json_schema", "choices", "embed"
]
NEEDS: frozenset[str] = frozenset(get_args(Need))
"""What a request may not be able to do without."""
CAPABILITIES = NEEDS | {"parallel_tools", "reasoning", "seed", "logprobs", "system", "stream"}
"""What a target may be able to do."""


FailureWord = Literal[
    "upstream_failed", "upstream_timeout", "overloaded", "rate_limited", "context_too_long"
]
FAILURE_WORDS: tuple[FailureWord, ...] = get_args(FailureWord)
"""Failures after which another target may do better."""


TASK_PATTERN = r"^[a-z][a-z0-9_.-]{0,39}$"
"""The words that callers can name tasks with."""


class Segment(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A piece of text of the prompt: who said it, what kind of part it stood in, the text."""

    role: str
    kind: Literal[
        "text", "tool_definition", "tool_call", "tool_result", "reasoning", "name", "other"
    ]
    text: str


class Detection(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the detectors found: atomic types (``pii.email``, ``secret.aws_key``).

    ``unknown`` are the types that a failed or exhausted detector could have set. ``unscannable``
    are the kinds of content that nobody could look into (``image``, ``audio``, ``document``).
    ``detectors`` is the version of the rule set. ``fault`` is the first detector that broke, with the name of
    its error, for operators.
    """

    found: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    unscannable: frozenset[str] = frozenset()
    detectors: str = ""
    fault: str = ""


class TargetFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """A target as policy sees it; fixed until the catalogue changes."""

    name: str
    provider: str
    model: str
    boundary: Boundary
    region: str
    capabilities: frozenset[str]
    context_tokens_max: int
    output_tokens_max: int
    retention_days: int | None = None
    trains_on_inputs: bool | None = None


class Quote(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One target's numbers for one request: exact integers of nano-dollars and seconds.

    ``worst_case_nanousd`` is of one call; None: there is no bound (unknown price, or over ``COST_NANOUSD_MAX``). ``is_healthy`` False with
    ``unhealthy_reason`` when a breaker is open. ``quality`` is 0 to 1 for the request's task; None: not
    measured. ``cached_tokens``: so many of the prompt's tokens its prefix cache is taken to hold.
    """

    expected_cost_nanousd: int | None
    worst_case_nanousd: int | None
    expected_ttft_seconds: float | None = None
    is_healthy: bool = True
    unhealthy_reason: str = ""
    quality: float | None = None
    cached_tokens: int = 0


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The request as policy sees it.

    ``needs`` are capabilities that the request cannot do without (``tools``, ``images``, …).
    ``input_tokens_estimate`` and ``output_tokens_max`` are tokens. ``now`` is seconds since the
    epoch (UTC). ``needs_bound``: a hard budget stands behind the request, so that a target without a
    worst case is struck (``price``). ``context_tokens_estimate`` is the longest text's, where each is read for
    itself and not all together (embeddings). ``prefer`` is what the model name asked for: ``auto:cheap`` → ``cheap``.
    ``task`` is what kind of work is asked for, as the caller says; None: nobody knows.
    """

    organisation: str
    team: str
    key: str
    residency: str
    data_class: DataClass
    detection: Detection
    request_model: str
    prefer: Literal["policy", "cheap", "best", "private"]
    needs: frozenset[str]
    is_stream: bool
    input_tokens_estimate: int
    output_tokens_max: int | None
    now: float
    needs_bound: bool = False
    context_tokens_estimate: int | None = None
    task: str | None = None


class Struck(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A target that may not be used and why. ``by``: ``constraint`` (hard), ``capability``,
    ``context``, ``health``, ``unscannable``, ``price`` (no bound where one is needed), ``proof`` (the
    policy is not proved to use it as it claims), ``dominated`` (never reached: everything tried before it is as
    good in every respect)."""

    target: str
    by: Literal[
        "constraint",
        "capability",
        "context",
        "health",
        "unscannable",
        "price",
        "proof",
        "dominated",
    ]
    constraint: str = ""
    reason: str = ""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A target that may be used, in order of preference, and why it stands where it stands."""

    target: str
    reason: str
    expected_cost_nanousd: int | None = None
    worst_case_nanousd: int | None = None


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result: ordered targets, struck targets, the labels, and which policy said so."""

    policy: str
    labels: frozenset[str]
    unknown_labels: frozenset[str]
    kept: tuple[Kept, ...]
    struck: tuple[Struck, ...]
    attempts_max: int = 3
    relaxed: tuple[str, ...] = ()
    caches_sampled: bool = False
    fallback: tuple[FailureWord, ...] = FAILURE_WORDS
    """Failures of one target after which the next is tried."""
