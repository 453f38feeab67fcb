"""OpenAI's legacy Completions: a bare text to go on from, as clients send it and as servers of one's own answer it.

Read next: :mod:`request` (parse), :mod:`rendering` (events → this format); for servers of the same format
:mod:`answer` (answer → events) and :mod:`passing`. Edits of pass-through are those of a chat: :mod:`backends.wire.openai_chat.patch`.
"""

from backends.wire.openai_completions.answer import EventParser
from backends.wire.openai_completions.rendering import CompletionsRenderer, render_answer
from backends.wire.openai_completions.request import parse_request

__all__ = [
    "CompletionsRenderer",
    "EventParser",
    "parse_request",
    "render_answer",
]
