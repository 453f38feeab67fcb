"""``moegate serve``: prepare what is missing, then answer."""

import asyncio
import errno
import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import orjson
import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from backends.catalogue import read_providers
from gateway.api.server import BACKLOG, server_config
from gateway.app import Gateway, check_start
from gateway.cli.context import read_settings
from gateway.errors import StartError
from gateway.prepare import Prepared, make_home, prepare
from gateway.runtime import Runtime
from gateway.settings import Settings


def serve(
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port to listen on [8080].")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; more than one needs Redis.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say what started as JSON.")] = False,
) -> None:
    """Run the gateway; with nothing configured, on SQLite and in-process budgets and cache."""
    settings = read_settings(config, {"host": host, "port": port, "workers": workers})
    make_home(settings)
    # First of all: a start that fails here has made no key that nobody saw.
    with closing(bind(settings.host, settings.port, "`--port` or `MOEGATE_PORT`")) as listener:
        if settings.workers > 1:
            _serve_together(settings, config, listener, as_json=as_json)
            return
        prepared = None
        if settings.database_url.startswith("sqlite"):
            # A file of one's own is brought up to date at once; a shared database only by `moegate init`.
            prepared = asyncio.run(prepare(settings))
        try:
            _serve_alone(settings, _greeting(settings, prepared, as_json=as_json), listener)
        except StartError:
            if prepared is not None and prepared.admin_key is not None:
                typer.echo(f"admin key (shown this once): {prepared.admin_key}", err=True)
            raise


def bind(host: str, port: int, ways: str = "`--port`") -> socket.socket:
    """A socket that will listen there; ``ways`` to name another port. Raises ``StartError``."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            taken = f"port {port} of {host} is taken by another program: choose one with {ways}"
            raise StartError(taken) from error
        reason = (error.strerror or "no such address").lower()
        raise StartError(f"cannot listen on {host} port {port}: {reason}") from error


def _serve_alone(
    settings: Settings, greet: Callable[[Runtime], None], listener: socket.socket
) -> None:
    gateway = Gateway(settings, greet)

    def is_news(record: logging.LogRecord) -> bool:
        """A failed start is told once, by the command."""
        del record
        return gateway.start_error is None

    logging.getLogger("uvicorn.error").addFilter(is_news)
    try:
        uvicorn.Server(server_config(gateway)).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    except SystemExit:
        if gateway.start_error is not None:
            raise gateway.start_error from None
        raise


def _serve_together(
    settings: Settings, config: Path | None, listener: socket.socket, *, as_json: bool
) -> None:
    """Workers are fresh processes that read their settings anew; one that dies is replaced."""
    asyncio.run(check_start(settings))
    _announce_workers(settings, as_json=as_json)
    os.environ["MOEGATE_WORKERS"] = str(settings.workers)
    if config is not None:
        os.environ["MOEGATE_CONFIG"] = str(config.absolute())
    with suppress(KeyboardInterrupt):
        Multiprocess(
            server_config("gateway.cli.serve:make_worker", settings.workers), sockets=[listener]
        ).run()


def make_worker() -> Gateway:
    """The application of one worker process, from the environment it inherited."""
    return Gateway(read_settings(None, {}))


def _announce_workers(settings: Settings, *, as_json: bool) -> None:
    """What the parent of several workers can say before they start; what each finds is in its log."""
    url = f"http://{_shown_host(settings.host)}:{settings.port}"
    if as_json:
        said = {"url": url, "workers": settings.workers, "state": str(settings.home)}
        typer.echo(orjson.dumps(said).decode())
    else:
        words = f"moegate starts {settings.workers} workers at {url}; state in {settings.home}"
        typer.echo(words, err=True)


def _greeting(
    settings: Settings, prepared: Prepared | None, *, as_json: bool
) -> Callable[[Runtime], None]:
    def greet(runtime: Runtime) -> None:
        routing = runtime.services.routing.current
        url = f"http://{_shown_host(settings.host)}:{settings.port}"
        key = prepared.admin_key if prepared is not None else None
        if as_json:
            typer.echo(
                orjson.dumps(
                    {
                        "url": url,
                        "admin_key": key,
                        "policy": routing.policy.label,
                        "targets": [target.name for target in routing.targets],
                        "state": str(settings.home),
                    }
                ).decode()
            )
            return
        # Standard output is the log's: lines of JSON and nothing else.
        typer.echo("\n".join(_words(url, key, runtime, settings)), err=True)

    return greet


def _words(url: str, key: str | None, runtime: Runtime, settings: Settings) -> list[str]:
    routing = runtime.services.routing.current
    lines = ["", f"moegate answers at {url}", ""]
    homes = [target.name for target in routing.targets if target.boundary == "self_hosted"]
    away: dict[str, int] = {}
    for target in routing.targets:
        if target.boundary != "self_hosted":
            away[target.provider] = away.get(target.provider, 0) + 1
    lines.append(f"  self-hosted  {', '.join(homes) or 'none'}")
    shown = ", ".join(f"{provider} ({count} models)" for provider, count in sorted(away.items()))
    lines.append(f"  providers    {shown or 'none: set ' + _key_variables()}")
    lines.append(f"  policy       {routing.policy.label}")
    lines.append(f"  state        {settings.home}")
    if shutil.which("moegate") is None:
        lines.append(
            f"  command      {Path(sys.executable).with_name('moegate')} (not on the PATH)"
        )
    if any(target.provider == "simulator" for target in routing.targets):
        lines += ["", "  Answers come from the built-in simulator, which is not a model."]
    if key is not None:
        lines += ["", f"  admin key    {key}", "               shown this once; keep it", ""]
        lines += [f"  open {url}/#key={key}"]
    said = f'-H "Authorization: Bearer {key or "$MOEGATE_KEY"}"'
    lines += ["", "  try it:", f"  curl {url}/v1/chat/completions {said} \\"]
    lines += ["    -H 'content-type: application/json' \\"]
    lines += [
        """    -d '{"model": "auto", "messages": [{"role": "user", "content": "Say hello."}]}'""",
        "",
    ]
    return lines


def _key_variables() -> str:
    main = ("openai", "anthropic", "gemini")
    providers = read_providers()
    return ", ".join(providers[name].api_key_variable for name in main)


def _shown_host(host: str) -> str:
    every = ("0.0.0.0", "::")  # noqa: S104  # only compared with: what listens everywhere answers here
    return "127.0.0.1" if host in every else host
