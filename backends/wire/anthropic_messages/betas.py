"""Anthropic's betas: which of those that a client asks for travel.

Promises: one that nobody listed does not travel, and is listed as lost. What changes the form of an answer, or what is
kept in the context, may; what makes the provider fetch, run, keep or bill something else may not.
"""

ALLOWED = (
    "claude-code-", "interleaved-thinking-", "context-management-", "prompt-caching-", "extended-cache-ttl-",
    "fine-grained-tool-streaming-", "token-efficient-tools-", "output-128k-", "effort-", "structured-outputs-",
    "thinking-token-count-", "adaptive-thinking-", "mid-conversation-system-", "redact-thinking-", "tool-search-tool-", "advanced-tool-use-",
    "model-context-window-exceeded-", "computer-use-", "pdfs-", "message-batches-", "token-counting-",
)  # fmt: skip
"""Beginnings of names (Anthropic's beta headers page and Claude Code 2.1, November 2026). Left out on purpose:
``mcp-client`` and ``web-fetch`` (calls to addresses in the prompt), ``code-execution``, ``skills`` and ``files-api``
(containers and files of the account), ``context-1m`` and ``fast-mode`` (other prices)."""


def choose_betas(asked: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that travel, and the names of those that do not."""
    kept = tuple(name for name in asked if name.startswith(ALLOWED))
    return kept, tuple(f"anthropic-beta.{name}" for name in asked if name not in kept)
