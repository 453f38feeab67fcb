"""The members of a policy document: what may stand in it, of which type, and what counts where it is left out.

Does not look at expressions, nor at what only the whole tells: :mod:`policies.document` does.
"""

from typing import Literal

import msgspec

from policies.facts import FAILURE_WORDS, Boundary, DataClass, FailureWord

Unscannable = Literal["any", "self_hosted", "refuse"]
Media = Literal["image", "audio", "document"]


class LabelData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A label: set by detectors (types, ``secret.*``), by an expression, or by either."""

    detect: tuple[str, ...] = ()
    when: str | None = None


class ConstraintData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where ``when`` holds (always, if absent), a target must satisfy ``require``."""

    name: str
    require: str
    when: str | None = None
    reason: str = ""


class ObjectiveData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to rank what is left: exactly one of ``minimize`` and ``maximize`` names a number."""

    when: str | None = None
    minimize: str | None = None
    maximize: str | None = None
    subject_to: tuple[str, ...] = ()
    unknown: dict[str, float] = {}
    """What a number that nobody knows counts as here: ``{quality: 0.5}``."""


class BurstData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A target at home for which ``when`` holds (about it and its numbers) stands behind all the others."""

    when: str


class AttemptsData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many targets may be tried, after which failures, and when those at home are passed by."""

    max: int = 3
    fallback: tuple[FailureWord, ...] = FAILURE_WORDS
    burst: BurstData | None = None


class CacheData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sampled``: answers that are drawn at random may be kept too."""

    sampled: bool = False


class InvariantData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim about every request: ``never`` this, or that some target is always left."""

    never: str | None = None
    always_some_target: str | None = None
    assuming: str | None = None


class GivenData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request of an example."""

    text: str
    data_class: DataClass = "internal"
    model: str = "auto"
    residency: str = ""
    media: tuple[Media, ...] = ()


class OnlyData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every target that is left must be."""

    boundary: Boundary | None = None
    region: str | None = None
    provider: str | None = None


class ExpectData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an example expects of the targets that are left, and which constraint strikes some."""

    only: OnlyData | None = None
    struck_by: str | None = None
    nothing_struck: bool = False
    labels: tuple[str, ...] = ()


class ExampleData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A unit test inside the document."""

    given: GivenData
    expect: ExpectData


class DocumentData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole document as written."""

    policy: str
    description: str = ""
    labels: dict[str, LabelData] = {}
    constraints: tuple[ConstraintData, ...] = ()
    objective: tuple[ObjectiveData, ...] = ()
    attempts: AttemptsData = AttemptsData()
    cache: CacheData = CacheData()
    unscannable: Unscannable = "self_hosted"
    invariants: tuple[InvariantData, ...] = ()
    examples: tuple[ExampleData, ...] = ()
