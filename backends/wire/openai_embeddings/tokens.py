"""Numbers of tokens → the text that they are: some clients (LangChain) send numbers, and nobody could look into them.

The vocabulary is ``cl100k_base``, that of every embedding model of OpenAI's; what a host gets is the text, so that it
is what was looked at, whatever the client meant and whatever tokenizer the host has. The file is the copy that comes
with the LiteLLM wheel: it is read, never imported, and believed only under the hash that tiktoken has for it
(openai/tiktoken, ``openai_public.py``). Without it no number is taken.
"""

import binascii
import functools
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
FILE = "litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""tiktoken names its files by the SHA-1 of their address."""


def read_tokens(tokens: Sequence[int]) -> str | None:
    """The text of ``tokens``; half of a character at an end becomes U+FFFD. None if one of them has no text."""
    lines = _vocabulary()
    if not tokens or not 0 <= min(tokens) <= max(tokens) < len(lines):
        return None
    pieces = [binascii.a2b_base64(lines[token].partition(b" ")[0]) for token in tokens]
    return b"".join(pieces).decode("utf-8", "replace")


def read_vocabulary(path: Path) -> list[bytes]:
    """One line a token: its bytes in base64, and its number. Empty if the file is not there or is another one."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    if hashlib.sha256(content).hexdigest() != SHA256:
        return []
    return content.splitlines()


# Read when first asked for (about 20 ms and 10 MB, once): few clients ever do.
@functools.cache
def _vocabulary() -> list[bytes]:
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return []
    return read_vocabulary(Path(spec.origin).parent / FILE)
