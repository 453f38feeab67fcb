"""Google's ``embedContent`` and ``batchEmbedContents``, as clients ask and as Google answers.

Read next: :mod:`request` (body → prompt), :mod:`target` (prompt → body, and the edit of pass-through), :mod:`answer`
(both ways). Which of the two is asked stands in the address: :mod:`backends.wire.gemini.paths`.
"""

from backends.wire.gemini_embeddings.answer import parse_answer, render_answer
from backends.wire.gemini_embeddings.request import parse_request
from backends.wire.gemini_embeddings.target import patch_request, render_request

__all__ = ["parse_answer", "parse_request", "patch_request", "render_answer", "render_request"]
