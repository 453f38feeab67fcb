"""OpenAI's Responses format, both sides, without kept state.

As a target: :mod:`request` (prompt → body), :mod:`answer` (answer → events), :mod:`patch` (a client's own body). For
clients: :mod:`parsing`, :mod:`rendering`. What both sides share with the chat format (bodies of errors, counts) is
there: :mod:`backends.wire.openai_chat`.
"""

from backends.wire.openai_responses.answer import EVENT_BYTES_MAX, EventParser
from backends.wire.openai_responses.marks import ISSUER
from backends.wire.openai_responses.models import can_reason
from backends.wire.openai_responses.parsing import parse_request
from backends.wire.openai_responses.patch import patch_request
from backends.wire.openai_responses.request import OUTPUT_TOKENS_MIN, render_request

__all__ = [
    "EVENT_BYTES_MAX",
    "ISSUER",
    "OUTPUT_TOKENS_MIN",
    "EventParser",
    "can_reason",
    "parse_request",
    "patch_request",
    "render_request",
]
