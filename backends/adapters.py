"""Every way to speak to hosts, by the catalogue's word for it."""

from collections.abc import Mapping

from backends.adapter import ProviderAdapter
from backends.claude import ClaudeAdapter
from backends.gemini import GeminiAdapter
from backends.gpt import GptAdapter
from backends.longtail import LongtailAdapter
from backends.sglang.adapter import SglangAdapter
from backends.target import Endpoint


def build_adapters(endpoints: Mapping[str, Endpoint]) -> Mapping[str, ProviderAdapter]:
    """One adapter of each kind over the same endpoints."""
    return {
        "gpt": GptAdapter(endpoints),
        "claude": ClaudeAdapter(endpoints),
        "gemini": GeminiAdapter(endpoints),
        "sglang": SglangAdapter(endpoints),
        "longtail": LongtailAdapter(endpoints),
    }
