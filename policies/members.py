"""The members of a policy document: what may stand in it, of which type, and what counts where it is left out.

The JSON Schema that editors get is made of these (:mod:`policies.json_schema`), with the texts beside them. Does not look
at expressions, nor at what only the whole tells: :mod:`policies.document` does.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from policies.facts import FAILURE_WORDS, Boundary, DataClass, FailureWord, Need

LABELS_MAX = 200
"""A label is looked at for each request, and one that names others behind all of these."""
USD_MAX = 1_000_000.0
SECONDS_MAX = 1_000_000.0
TOKENS_MAX = 1_000_000_000

Unscannable = Literal["any", "self_hosted", "refuse"]
Media = Literal["image", "audio", "document"]

Usd = Annotated[float, Meta(ge=0.0, le=USD_MAX)]
Seconds = Annotated[float, Meta(ge=0.0, le=SECONDS_MAX)]
Quality = Annotated[float, Meta(ge=0.0, le=1.0)]
Unknown = Literal["unknown"]
"""Stands for a number that nobody knows."""


class LabelData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A label: set by detectors (types, ``secret.*``), by an expression, or by either."""

    detect: Annotated[
        tuple[str, ...],
        Meta(description="Types that detectors find, or a prefix with `*`: any of them sets it."),
    ] = ()
    when: Annotated[
        str | None,
        Meta(description="A CEL expression about the request and other labels that sets it too."),
    ] = None


class ConstraintData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where ``when`` holds (always, if absent), a target must satisfy ``require``."""

    name: Annotated[str, Meta(description="One line, unlike the others'.")]
    require: Annotated[
        str, Meta(description="A CEL expression: a target for which it does not hold is struck.")
    ]
    when: Annotated[
        str | None,
        Meta(description="A CEL expression: where it does not hold, nobody is struck."),
    ] = None
    reason: Annotated[str, Meta(description="What the refused client reads.")] = ""


class ObjectiveData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to rank what is left: exactly one of ``minimize`` and ``maximize`` names a number."""

    when: Annotated[
        str | None,
        Meta(description="A CEL expression about the request: the first entry that holds ranks."),
    ] = None
    minimize: Annotated[
        str | None, Meta(description="A CEL expression that is a number: the least comes first.")
    ] = None
    maximize: Annotated[
        str | None, Meta(description="A CEL expression that is a number: the most comes first.")
    ] = None
    subject_to: Annotated[
        tuple[str, ...],
        Meta(description="Wishes, in CEL. If nobody meets all, the first written is given up."),
    ] = ()
    unknown: Annotated[
        dict[str, float],
        Meta(description="What a number that nobody knows counts as here: `{quality: 0.5}`."),
    ] = {}


class BurstData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A target at home for which ``when`` holds (about it and its numbers) stands behind all the others."""

    when: Annotated[str, Meta(description="A CEL expression, as `expected_ttft_s > 5.0`.")]


class AttemptsData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many targets may be tried, after which failures, and when those at home are passed by."""

    max: Annotated[
        int, Meta(ge=1, le=10, description="How many targets may be tried for one request.")
    ] = 3
    fallback: Annotated[
        tuple[FailureWord, ...],
        Meta(description="The failures after which the next target is tried."),
    ] = FAILURE_WORDS
    burst: Annotated[BurstData | None, Meta(description="When targets at home are passed by.")] = (
        None
    )


class CacheData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be kept of answers."""

    sampled: Annotated[
        bool, Meta(description="Whether answers that are drawn at random may be kept too.")
    ] = False


class InvariantData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim about every request: ``never`` this, or that some target is always left."""

    never: Annotated[
        str | None, Meta(description="A CEL expression that holds of no target that is left.")
    ] = None
    always_some_target: Annotated[
        str | None,
        Meta(description="A CEL expression about the request: where it holds, a target is left."),
    ] = None
    assuming: Annotated[
        str | None,
        Meta(description="A CEL expression about targets that `always_some_target` presumes."),
    ] = None


class GivenData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request of an example, and the world that it meets. Costs, waits and quality are for every target, or by
    a target's name or boundary."""

    text: Annotated[str, Meta(description="What the user says; the detectors read it.")]
    data_class: Annotated[DataClass, Meta(description="Its data class.")] = "internal"
    media: Annotated[
        tuple[Media, ...],
        Meta(description="What stands beside the text and cannot be looked into."),
    ] = ()
    lost: Annotated[
        tuple[str, ...],
        Meta(
            description="Types whose detectors failed (or a prefix with `*`): nobody knows of them."
        ),
    ] = ()
    model: Annotated[str, Meta(description="`request.model`; it narrows nothing.")] = "auto"
    organisation: Annotated[str, Meta(description="`tenant.organisation`.")] = "example"
    team: Annotated[str, Meta(description="`tenant.team`.")] = "example"
    key: Annotated[str, Meta(description="`tenant.key`.")] = "example"
    residency: Annotated[str, Meta(description="`tenant.residency`, lower case.")] = ""
    stream: Annotated[bool, Meta(description="Whether the answer is streamed.")] = False
    needs: Annotated[tuple[Need, ...], Meta(description="What it cannot do without.")] = ()
    input_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=TOKENS_MAX)] | None,
        Meta(description="Its length; left out, it is estimated from the text."),
    ] = None
    task: Annotated[str | None, Meta(description="The kind of work; left out, it is unknown.")] = (
        None
    )
    hour: Annotated[int, Meta(ge=0, le=23, description="`clock.hour` (UTC), of a Thursday.")] = 0
    worst_case_usd: Annotated[
        Usd | Unknown | dict[str, Usd | Unknown] | None,
        Meta(
            description="The most that one call costs; left out, 0.001, or `expected_usd` if above."
        ),
    ] = None
    expected_usd: Annotated[
        Usd | Unknown | dict[str, Usd | Unknown] | None,
        Meta(description="What a call costs; left out, 0.001, or `worst_case_usd` if below."),
    ] = None
    ttft_seconds: Annotated[
        Seconds | Unknown | dict[str, Seconds | Unknown] | None,
        Meta(description="`expected_ttft_s`; left out, 1."),
    ] = None
    quality: Annotated[
        Quality | Unknown | dict[str, Quality | Unknown] | None,
        Meta(description="`quality`; left out, 0.9."),
    ] = None
    unhealthy: Annotated[
        tuple[str, ...],
        Meta(description="Targets that do not answer, by name or by boundary."),
    ] = ()


class OnlyData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every target that is left must be."""

    boundary: Annotated[Boundary | None, Meta(description="Whether it is at home.")] = None
    region: Annotated[str | None, Meta(description="Its region.")] = None
    provider: Annotated[str | None, Meta(description="Its provider.")] = None


class FirstData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the first of the targets that are left must be."""

    boundary: Annotated[Boundary | None, Meta(description="Whether it is at home.")] = None
    region: Annotated[str | None, Meta(description="Its region.")] = None
    provider: Annotated[str | None, Meta(description="Its provider.")] = None
    name: Annotated[str | None, Meta(description="Its name.")] = None


class ExpectData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an example expects: of the targets that are left, of those that are struck, of the labels."""

    only: Annotated[
        OnlyData | None,
        Meta(description="Some target is left, and everyone that is left is this."),
    ] = None
    first: Annotated[
        FirstData | None, Meta(description="The first of those that are left is this.")
    ] = None
    refused: Annotated[bool, Meta(description="`true`: no target is left.")] = False
    struck_by: Annotated[
        str | None,
        Meta(description="The constraint that strikes some target, or `unscannable`."),
    ] = None
    nothing_struck: Annotated[
        bool, Meta(description="`true`: no constraint strikes any target.")
    ] = False
    labels: Annotated[tuple[str, ...], Meta(description="Labels that are set.")] = ()
    unknown_labels: Annotated[
        tuple[str, ...], Meta(description="Labels of which nobody knows whether they are set.")
    ] = ()


class ExampleData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test inside the document: a request, and what becomes of it."""

    given: Annotated[GivenData, Meta(description="The request, and the world that it meets.")]
    expect: Annotated[ExpectData, Meta(description="What becomes of it: at least one thing.")]


class DocumentData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole document as written."""

    policy: Annotated[
        str, Meta(description="Its name: up to 64 lower-case letters, digits, `.`, `_` and `-`.")
    ]
    description: Annotated[str, Meta(description="What it is for, in a sentence.")] = ""
    labels: Annotated[
        dict[str, LabelData], Meta(description="What a prompt can be found to be.")
    ] = {}
    constraints: Annotated[
        tuple[ConstraintData, ...], Meta(description="What strikes targets, in any order.")
    ] = ()
    objective: Annotated[
        tuple[ObjectiveData, ...],
        Meta(description="What ranks those that are left: the first entry whose `when` holds."),
    ] = ()
    attempts: Annotated[
        AttemptsData, Meta(description="How many targets are tried, and after what.")
    ] = AttemptsData()
    cache: Annotated[CacheData, Meta(description="What may be kept of answers.")] = CacheData()
    unscannable: Annotated[
        Unscannable,
        Meta(
            description="Where images, audio and documents, which no detector looks into, may go: "
            "`any` (as plain text), `self_hosted`, or `refuse`."
        ),
    ] = "self_hosted"
    invariants: Annotated[
        tuple[InvariantData, ...],
        Meta(description="Claims about every request, proved before the document goes live."),
    ] = ()
    examples: Annotated[
        tuple[ExampleData, ...],
        Meta(description="Tests that have to pass before the document goes live."),
    ] = ()
