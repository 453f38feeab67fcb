"""What a model takes, as far as a request depends on it. Data by the model's name.

Source: OpenAI's models pages (November 2026); ``include`` of encrypted reasoning is an error for models that do not
reason.
"""

import re

_REASONS = re.compile(r"(?:.*/)?(?:o[1-9]|gpt-[5-9]|codex|computer-use)(?!.*-chat)")


def can_reason(model: str) -> bool:
    """Whether the model thinks, and signs what it thought."""
    return _REASONS.match(model) is not None
