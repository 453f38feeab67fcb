"""The Anthropic Messages format, both sides.

As a target: :mod:`request` (prompt → body), :mod:`answer` (answer → events), :mod:`patch` (a client's own body);
what a model accepts is in :mod:`models`. For clients: :mod:`parsing`, :mod:`rendering`. Both: :mod:`errors`.
"""

from backends.wire.anthropic_messages.answer import EVENT_BYTES_MAX, EventParser
from backends.wire.anthropic_messages.betas import choose_betas
from backends.wire.anthropic_messages.errors import read_error
from backends.wire.anthropic_messages.parsing import parse_request
from backends.wire.anthropic_messages.patch import patch_request
from backends.wire.anthropic_messages.request import find_answer_tool, render_request

__all__ = [
    "EVENT_BYTES_MAX",
    "EventParser",
    "choose_betas",
    "find_answer_tool",
    "parse_request",
    "patch_request",
    "read_error",
    "render_request",
]
