"""The container stack for real: built, started, asked, cut off from its parts, restarted, taken down."""

import json
import re
import time
from collections.abc import Callable, Generator

import pytest
import yaml

from tests.compose.engine import FIGURES, CommandFailed, Engine, Reply, own_engine
from tests.compose.obstacle import Obstacle, seconds_left
from tests.compose.rendering import PROFILES, REPOSITORY, mapping, render, sequence
from tests.compose.rules import find_faults

pytestmark = pytest.mark.full

URL = "http://127.0.0.1:8080"
DEMO = ("--profile", "demo")
SERVICES = ("postgres", "redis", "gateway", "simulator")
COMPARED = (
    "image",
    "command",
    "environment",
    "user",
    "read_only",
    "tmpfs",
    "cap_drop",
    "healthcheck",
)
ENVIRON = {
    "PYTHON_IMAGE": "test/python",
    "BUILD_IMAGE": "test/build",
    "INSTALL_ARGS": "--no-index --find-links /wheels",
    "POSTGRES_IMAGE": "test/postgres",
    "REDIS_IMAGE": "test/redis",
    "MOEGATE_IMAGE": "test/moegate",
    "MOEGATE_SECRETS": "/secrets",
}
SECRETS = ("postgres_password", "redis_password", "master_key", "admin_token")


@pytest.fixture(scope="module")
def engine() -> Generator[Engine]:
    """An engine of this run, or the reason why there can be none."""
    try:
        with own_engine() as started:
            started.environ.update(ENVIRON)
            yield started
    except Obstacle as obstacle:
        pytest.skip(f"no container engine can be started here: {obstacle}")


@pytest.fixture(scope="module")
def stack(engine: Engine, request: pytest.FixtureRequest) -> Generator[Engine]:
    """The stack with the simulator, by the commands of the README; nothing of it is left afterwards."""
    engine.run("sh", "/src/deploy/make-secrets.sh", "/secrets")
    try:
        with engine.timed("build and start"):
            engine.compose(*DEMO, "up", "--detach", "--wait")
        yield engine
        sizes = [
            f"image {name} {image_megabytes(engine, name)} MB" for name in ("moegate", "python")
        ]
    finally:
        with engine.timed("down"):
            engine.compose(*DEMO, "down", "--volumes")
    for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls", "--filter", "name=moegate")):
        assert engine.run("docker", *kind, "--quiet") == "", kind
    spent = [f"{name} {seconds} s" for name, seconds in engine.seconds.items()]
    request.config.stash[FIGURES] = ", ".join([*spent, *sizes])


def image_megabytes(engine: Engine, name: str) -> int:
    size = engine.run("docker", "image", "inspect", "--format", "{{.Size}}", f"test/{name}")
    return round(int(size) / 1e6)


def say(engine: Engine, text: str, key: str = "", **more: object) -> Reply:
    """One chat through the published port; without ``key`` with the admin key that the script made."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **more}
    authorization = f"Bearer {key or engine.run('cat', '/secrets/admin_token')}"
    return engine.call("POST", f"{URL}/v1/chat/completions", body, authorization=authorization)


def rows(engine: Engine, query: str) -> list[dict[str, object]]:
    """What PostgreSQL itself says, asked beside it."""
    wrapped = f"SELECT coalesce(json_agg(found), '[]') FROM ({query}) AS found"
    psql = ("psql", "-U", "moegate", "-d", "moegate", "-At", "-c", wrapped)
    text = engine.compose("exec", "-T", "postgres", *psql)
    return [mapping(row) for row in sequence(json.loads(text))]


def redis(engine: Engine, command: str) -> list[str]:
    """The lines that Redis itself answers."""
    password = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)"'
    asked = f"{password} redis-cli {command}"
    return engine.compose("exec", "-T", "redis", "sh", "-c", asked).split()


def eventually(engine: Engine, condition: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + min(seconds, seconds_left(engine.deadline))
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def booked(engine: Engine, reply: Reply) -> dict[str, object]:
    """The one attempt of an answer, once it is in SQL."""
    query = f"SELECT * FROM attempts WHERE request_id = '{reply.headers['x-moegate-request-id']}'"
    eventually(engine, lambda: bool(rows(engine, query)))
    (row,) = rows(engine, query)
    return row


def is_ready(engine: Engine) -> bool:
    return engine.call("GET", f"{URL}/readyz").status == 200


def inspect(engine: Engine, service: str, part: str) -> dict[str, object]:
    (found,) = sequence(json.loads(engine.run("docker", "inspect", f"moegate-{service}-1")))
    return mapping(mapping(found)[part])


@pytest.mark.parametrize("profiles", PROFILES)
def test_compose_renders_every_profile_hardened(engine: Engine, profiles: tuple[str, ...]) -> None:
    """Docker Compose takes the file, keeps every rule, and agrees with the rendering without it."""
    asked = [part for profile in profiles for part in ("--profile", profile)]
    theirs = mapping(yaml.safe_load(engine.compose(*asked, "config")))
    assert find_faults(theirs) == []
    ours, services = mapping(render(ENVIRON, profiles)["services"]), mapping(theirs["services"])
    assert set(ours) == set(services)
    for name in ours:
        for part in COMPARED:
            # Compose writes its dollar signs twice, so that its output may be read again.
            shown = json.dumps(mapping(services[name]).get(part)).replace("$$", "$")
            assert json.loads(shown) == mapping(ours[name]).get(part), f"{name}: {part}"


def test_mistake_in_the_file_is_refused(engine: Engine) -> None:
    """The check by Compose can fail: an unknown key is an error that names it."""
    broken = b"services: {one: {image: x, healthchek: {}}}"
    with pytest.raises(CommandFailed, match="healthchek"):
        engine.compose("--file", "-", "config", stdin=broken)


def test_documented_override_adds_a_provider(engine: Engine) -> None:
    """The page's example gives the gateway one more key, and the hardening stays."""
    page = (REPOSITORY / "docs" / "containers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    files = ("--file", "compose.yaml", "--file", "-")
    shown = engine.compose(*files, "config", stdin=example.encode())
    project = mapping(yaml.safe_load(shown))
    assert find_faults(project) == ["gateway: is given ['mistral_api_key'] too much or too little"]


@pytest.mark.parametrize("service", SERVICES)
def test_running_service_holds_no_power(stack: Engine, service: str) -> None:
    """The process itself: not root, no capability, no way to more, and it cannot write beside its data."""
    first = stack.compose("exec", "-T", service, "cat", "/proc/1/status")
    status = dict(line.split(":\t", 1) for line in first.splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    with pytest.raises(CommandFailed, match="Read-only file system"):
        stack.compose("exec", "-T", "--user", "0", service, "touch", "/usr/touched")


def test_only_the_gateway_is_published_and_only_on_the_loopback(stack: Engine) -> None:
    """Of the whole stack one port can be reached, and the inside network has no way out."""
    ports = {name: mapping(inspect(stack, name, "HostConfig")["PortBindings"]) for name in SERVICES}
    assert ports.pop("gateway") == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert not any(ports.values())
    route = stack.compose("exec", "-T", "simulator", "cat", "/proc/net/route")
    assert [line for line in route.splitlines() if line.split()[1] == "00000000"] == []


def test_no_secret_shows(stack: Engine) -> None:
    """Not in what the engine knows of the containers and the image, nor in what they say."""
    containers = [f"moegate-{name}-1" for name in (*SERVICES, "migrate")]
    shown = stack.run("docker", "inspect", *containers, "test/moegate")
    shown += stack.run("docker", "history", "--no-trunc", "test/moegate")
    shown += stack.compose(*DEMO, "logs", "--no-color")
    assert "database_url" in shown
    assert [name for name in SECRETS if stack.run("cat", f"/secrets/{name}") in shown] == []


def test_chat_is_answered_by_the_simulator_and_booked(stack: Engine) -> None:
    """Through the published port and the gateway: the simulator's own count is what PostgreSQL holds."""
    reply = say(stack, "Say something about containers.", temperature=1)
    assert reply.status == 200, reply.body
    assert reply.headers["x-moegate-target"] == "sglang/moegate-simulator"
    usage = mapping(reply.json()["usage"])
    row = booked(stack, reply)
    assert (row["input_tokens"], row["output_tokens"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert (row["state"], row["usage_source"], row["finish_reason"]) == (
        "settled",
        "provider",
        "stop",
    )


def test_stream_is_answered_and_booked(stack: Engine) -> None:
    """A stream comes whole through the container's port and is booked with what its end said."""
    reply = say(stack, "Count.", temperature=1, stream=True, stream_options={"include_usage": True})
    events = [line[6:] for line in reply.body.splitlines() if line.startswith("data: ")]
    assert len(events) > 5
    assert events[-1] == "[DONE]"
    usage = mapping(mapping(json.loads(events[-2]))["usage"])
    assert booked(stack, reply)["output_tokens"] == usage["completion_tokens"]


def test_unknown_key_is_refused(stack: Engine) -> None:
    """The published port asks for a key."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    reply = stack.call("POST", f"{URL}/v1/chat/completions", body, authorization="Bearer mg-no")
    assert (reply.status, reply.headers["x-moegate-error"]) == (401, "unauthenticated")


def test_repeated_answer_comes_out_of_redis(stack: Engine) -> None:
    """The same bytes a second time without a call; with Redis emptied, a call again."""
    first = say(stack, "Twice, please.", temperature=0)
    assert first.headers["x-moegate-cache"] == "miss"
    eventually(stack, lambda: any("answer|" in key for key in redis(stack, "--raw keys '*'")))
    second = say(stack, "Twice, please.", temperature=0)
    assert (second.headers["x-moegate-cache"], second.body) == ("hit", first.body)
    assert redis(stack, "flushall") == ["OK"]
    assert say(stack, "Twice, please.", temperature=0).headers["x-moegate-cache"] == "miss"


def test_restart_keeps_the_accounts(stack: Engine) -> None:
    """Stopped and started whole, migrated once more: every row is there, the key still opens."""
    before = booked(stack, say(stack, "Before the restart.", temperature=1))
    everything = "SELECT attempt_id FROM attempts ORDER BY attempt_id"
    held = rows(stack, everything)
    with stack.timed("stop"):
        stack.compose(*DEMO, "stop")
    assert inspect(stack, "gateway", "State")["ExitCode"] == 0
    with stack.timed("start again"):
        stack.compose(*DEMO, "up", "--detach", "--wait")
    assert inspect(stack, "migrate", "State")["ExitCode"] == 0
    assert rows(stack, everything) == held
    assert before["attempt_id"] in {row["attempt_id"] for row in held}
    assert say(stack, "After the restart.", temperature=1).status == 200


def test_killed_gateway_comes_back(stack: Engine) -> None:
    """``kill -9`` of the whole gateway: the engine starts it again and nothing booked is lost."""
    reply = say(stack, "Last words.", temperature=1)
    before = stack.run("docker", "inspect", "--format", "{{.RestartCount}}", "moegate-gateway-1")
    stack.run("kill", "-9", str(inspect(stack, "gateway", "State")["Pid"]))

    def is_back() -> bool:
        shown = ("docker", "inspect", "--format", "{{.RestartCount}}", "moegate-gateway-1")
        return stack.run(*shown) != before and is_ready(stack)

    eventually(stack, is_back)
    assert booked(stack, reply)["state"] == "settled"


def test_lost_database_costs_no_account(stack: Engine) -> None:
    """With PostgreSQL away chats by known keys are answered and journalled; back, it gets each row."""
    assert say(stack, "So that the key is known.", temperature=1).status == 200
    stack.compose("stop", "postgres")
    try:
        replies = [say(stack, f"Away, {turn}.", temperature=1, max_tokens=1) for turn in range(6)]
    finally:
        stack.compose("start", "postgres")
    # A worker that has not met the key yet cannot look it up, says so, and calls nobody.
    assert {(one.status, one.headers.get("x-moegate-error")) for one in replies} <= {
        (200, None),
        (503, "overloaded"),
    }
    answered = [reply for reply in replies if reply.status == 200]
    assert answered
    eventually(stack, lambda: "(healthy)" in stack.compose("ps", "postgres"))
    assert {booked(stack, reply)["state"] for reply in answered} == {"settled"}


def test_lost_redis_refuses_what_has_a_budget(stack: Engine) -> None:
    """Without Redis a budget cannot be kept: its key is told to come back, one without goes on."""
    make = ("moegate", "keys", "create", "--team", "with-budget", "--budget-usd", "5", "--json")
    key = str(mapping(json.loads(stack.compose("exec", "-T", "gateway", *make)))["key"])
    assert say(stack, "With Redis.", key, temperature=1).status == 200
    stack.compose("stop", "redis")
    try:
        refused = say(stack, "Without Redis.", key, temperature=1)
        unlimited = say(stack, "Without Redis.", temperature=1)
        assert not is_ready(stack)
    finally:
        stack.compose("start", "redis")
    assert (refused.status, refused.headers.get("x-moegate-error")) == (503, "overloaded")
    assert unlimited.status == 200
    eventually(stack, lambda: is_ready(stack))
    assert say(stack, "With Redis again.", key, temperature=1).status == 200


def test_backup_can_be_restored(stack: Engine) -> None:
    """The commands of the documentation bring back what was deleted after the dump."""
    booked(stack, say(stack, "Worth keeping.", temperature=1))
    everything = "SELECT * FROM attempts ORDER BY attempt_id"
    held = rows(stack, everything)
    dump = ("pg_dump", "-U", "moegate", "--clean", "--if-exists", "moegate")
    saved = stack.compose("exec", "-T", "postgres", *dump)
    psql = ("exec", "-T", "postgres", "psql", "-U", "moegate", "-q", "-v", "ON_ERROR_STOP=1")
    stack.compose(*psql, "-c", "DELETE FROM attempts")
    assert rows(stack, everything) == []
    stack.compose("stop", "gateway")
    stack.compose(*psql, stdin=saved.encode())
    assert redis(stack, "flushall") == ["OK"]
    stack.compose(*DEMO, "up", "--detach", "--wait")
    assert rows(stack, everything) == held
