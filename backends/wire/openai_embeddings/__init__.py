"""OpenAI's embeddings, as clients ask for them and as hosts of the format answer.

Read next: :mod:`request` (body → prompt), :mod:`target` (prompt → body, and the edits of pass-through), :mod:`answer`
(both ways).
"""

from backends.wire.openai_embeddings.answer import parse_answer, render_answer
from backends.wire.openai_embeddings.request import parse_request
from backends.wire.openai_embeddings.target import patch_request, render_request

__all__ = ["parse_answer", "parse_request", "patch_request", "render_answer", "render_request"]
