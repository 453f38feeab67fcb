"""What the bench's stub says is what the bench says that it says."""

from pathlib import Path

import pytest

from backends.wire.events import End, TextDelta
from backends.wire.prompt import WireFormat
from backends.wire.targets import TARGETS
from tests.bench.answers import PIECES, TEXTS, write_answers

NAMES: dict[str, WireFormat] = {
    "chat": "openai-chat",
    "messages": "anthropic-messages",
    "gemini": "gemini",
    "responses": "openai-responses",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_provider_says_the_same_text_in_as_many_pieces(tmp_path: Path, name: str) -> None:
    """So that the formats are compared and not the answers, streamed and whole."""
    write_answers(tmp_path)
    target = TARGETS[NAMES[name]]
    parser = target.open_parser()
    events = [*parser.feed((tmp_path / f"{name}.sse").read_bytes()), *parser.finish()]
    assert [event.text for event in events if isinstance(event, TextDelta)] == list(TEXTS)
    whole = target.open_parser().read_answer((tmp_path / f"{name}.json").read_bytes())
    assert [event.text for event in whole if isinstance(event, TextDelta)] == ["".join(TEXTS)]
    for end in (events[-1], whole[-1]):
        assert isinstance(end, End)
        assert end.usage is not None
        assert end.usage.output_tokens == PIECES
