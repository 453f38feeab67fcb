"""The Anthropic Messages format as a target: prompt -> request, answer -> events, error -> failure.

Read next: :mod:`request`, :mod:`answer`, :mod:`errors`; what a model accepts is in :mod:`models`.
"""

from backends.wire.anthropic_messages.answer import EventParser, parse_answer
from backends.wire.anthropic_messages.errors import read_error
from backends.wire.anthropic_messages.request import find_answer_tool, render_request

__all__ = ["EventParser", "find_answer_tool", "parse_answer", "read_error", "render_request"]
