"""Tools that are no functions, in the words of the three providers: who runs them, and may they be asked for.

Promises: a kind that nobody listed does not travel. What a client runs itself costs and carries nothing; what a
provider runs is billed apart and may carry the prompt on, so the gateway's terms decide; what reaches into things
that a provider keeps under one account for all tenants (vector stores, containers), or calls an address that the
prompt names (MCP), never travels.
"""

RUN_BY_CLIENT = (
    "custom", "namespace", "apply_patch", "local_shell",
    "bash_", "text_editor_", "memory_", "computer", "tool_search",
)  # fmt: skip
"""Beginnings of kinds. OpenAI's tools reference and Anthropic's tool-use pages (November 2026). Their tool
searches run at the provider and look at nothing but the request's own tools."""

RUN_BY_PROVIDER = (
    "web_search", "web_fetch_", "code_execution_", "image_generation",
    "googleSearch", "google_search", "codeExecution", "code_execution", "urlContext", "url_context",
    "googleMaps", "enterpriseWebSearch",
)  # fmt: skip
"""Beginnings of kinds, as above; Google's tools pages besides."""


def may_travel(kind: str, *, allows_provider_tools: bool) -> bool:
    """Whether a tool of this kind may be asked for at its own provider."""
    if kind.startswith(RUN_BY_CLIENT):
        return True
    return allows_provider_tools and kind.startswith(RUN_BY_PROVIDER)
