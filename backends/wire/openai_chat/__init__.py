"""OpenAI Chat Completions: what clients send, what targets of the format answer, errors, events.

Read next: :mod:`request` (parse), :mod:`patch` (the edits that pass-through makes), :mod:`passing`
(answers as they come), :mod:`rendering` (events → this format), :mod:`errors`; for clients of another format
:mod:`target` (prompt → body) and :mod:`answer` (answer → events).
"""

from backends.wire.openai_chat.answer import EventParser
from backends.wire.openai_chat.errors import read_error, render_error_event, render_failure
from backends.wire.openai_chat.passing import ChatPassRelay, read_answer
from backends.wire.openai_chat.patch import (
    FOREIGN,
    drop_foreign,
    holds_foreign,
    patch_request,
)
from backends.wire.openai_chat.rendering import ChatRenderer, render_answer
from backends.wire.openai_chat.request import parse_request
from backends.wire.openai_chat.target import render_request

__all__ = [
    "FOREIGN",
    "ChatPassRelay",
    "ChatRenderer",
    "EventParser",
    "drop_foreign",
    "holds_foreign",
    "parse_request",
    "patch_request",
    "read_answer",
    "read_error",
    "render_answer",
    "render_error_event",
    "render_failure",
    "render_request",
]
