"""Heads of answers that are written at once."""

import pytest

from gateway.api.server import render_head


def test_a_head_is_its_lines() -> None:
    """Status line, headers as they are, an empty line."""
    head = render_head(
        200, [(b"content-type", b"text/plain"), (b"x-word", b"caf\xc3\xa9\tau lait")]
    )
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\ncontent-type: text/plain\r\nx-word: caf\xc3\xa9\tau lait\r\n\r\n")


@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\r\n\r\n", "\0", "\x1b", "\x7f"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_control_character_ends_no_head(control: str, place: int) -> None:
    """Neither a name nor a value can begin a header, or a body, of its own."""
    header = [b"x-word", b"said"]
    header[place] += control.encode() + b"set-cookie: a=b"
    with pytest.raises(ValueError, match="control character"):
        render_head(200, [(b"content-type", b"text/plain"), (header[0], header[1])])
