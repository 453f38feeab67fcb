"""The Gemini generateContent format both ways: a client's request, and a target's.

Read next: :mod:`request`, :mod:`answer`, :mod:`errors`; what a model accepts is in :mod:`models`.
"""

from backends.wire.gemini.answer import EventParser
from backends.wire.gemini.errors import read_error
from backends.wire.gemini.request import render_request

__all__ = ["EventParser", "read_error", "render_request"]
