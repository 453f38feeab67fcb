"""``moegate translate``: what a body becomes, and what it does not carry."""

import json

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.errors import StartError

ASKED = {
    "model": "m", "max_tokens": 50, "stop_sequences": ["END"], "metadata": {"user_id": "u"},
    "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}],
}  # fmt: skip
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip


def run(source: str, wanted: str, kind: str, body: object, *more: str) -> Result:
    """The command over a body on standard input."""
    text = body if isinstance(body, str) else json.dumps(body)
    arguments = ["translate", "--from", source, "--to", wanted, "--kind", kind, *more]
    return CliRunner().invoke(app, arguments, input=text)


def test_a_request_with_its_losses() -> None:
    """The body on standard output, the list of losses on standard error."""
    result = run(
        "anthropic-messages", "gemini", "request", ASKED, "--model", "gemini-3-pro-preview"
    )
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert body["generationConfig"] == {"maxOutputTokens": 50, "stopSequences": ["END"]}
    assert json.loads(result.stderr) == {"dropped": ["metadata.user_id"]}


def test_an_answer() -> None:
    """A plain answer of a provider, as a client of another format gets it."""
    result = run("openai-chat", "anthropic-messages", "response", ANSWER)
    assert json.loads(result.stdout)["content"] == [{"type": "text", "text": "hello"}]


def test_a_stream() -> None:
    """A stream, from its first event to its end."""
    chunk = {
        "id": "c",
        "choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}],
    }
    said = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    result = run("openai-chat", "gemini", "stream", said)
    last = json.loads(result.stdout.strip().splitlines()[-1][6:])
    assert last["candidates"][0]["finishReason"] == "STOP"
    cut = run(
        "openai-chat", "anthropic-messages", "stream", said.replace("data: [DONE]", ": x")[:60]
    )
    assert "event: error" in cut.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("openai-chart", "gemini", "request"), "`openai-chart` is no format: did you mean"),
        (("gemini", "claude", "request"), "`claude` is no format; it is one of openai-chat, "),
        (("openai-chat", "gemini", "answer"), "`answer` is no kind"),
        (("anthropic-messages", "gemini", "request"), "`messages` is missing (at `messages`)"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: tuple[str, str, str], words: str) -> None:
    """One line that says what, and where in the body."""
    result = run(*arguments, {"model": "m", "max_tokens": 1})
    assert result.exit_code == 1
    assert isinstance(result.exception, StartError)
    assert words in str(result.exception)
