"""The one pure price function: settle, reserve and estimate all call :func:`price_tokens`.

Promises: integers only. Rates are nano-dollars per million tokens; the sum over all lines is exact and
is rounded once, half up, to whole nano-dollars (bounds are rounded up). A tier re-prices the whole
request once its input passes the threshold. An unknown price is an error or None, never zero; free must
be said in the catalogue.
"""

PER_MILLION = 10**6

MESSAGE_TOKENS_MAX = 16
"""Template tokens around one message. Published chat templates (ChatML, Llama, DeepSeek, Gemma) add 3
to 8; the JSON around a message, which is counted as text, is longer than that by itself."""
TOOL_TOKENS_MAX = 64
TOOLS_PREAMBLE_TOKENS_MAX = 1024
"""A provider's own words around tools: Anthropic's documentation (tool use, pricing) lists 264 to 804
tokens by model and tool choice."""
REQUEST_TOKENS_MAX = 64
