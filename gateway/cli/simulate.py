"""``moegate simulate``: an SGLang-protocol worker without a model."""

from contextlib import closing, suppress
from typing import Annotated

import typer
import uvicorn

from backends.sglang.simulator import SimulatorSettings, build_simulator
from backends.sglang.simulator.engine import MODEL
from gateway.cli.serve import bind


def simulate(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    ttft_ms: Annotated[float, typer.Option(min=0, help="Time to the first token.")] = 0.0,
    tpot_ms: Annotated[float, typer.Option(min=0, help="Time for each further token.")] = 0.0,
    prefill_tok_s: Annotated[
        float, typer.Option(min=0, help="Prefill speed for what is not cached; 0 is instant.")
    ] = 0.0,
    kv_tokens: Annotated[
        int, typer.Option(min=16, help="Tokens that the prefix cache holds.")
    ] = 65_536,
    model: Annotated[str, typer.Option(help="Name of the model that it says it serves.")] = MODEL,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Give vectors for texts, and no answers.")
    ] = False,
) -> None:
    """Run a simulated worker; its answers say that they are simulated."""
    settings = SimulatorSettings(
        model=model,
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        prefill_tokens_per_second=prefill_tok_s,
        kv_tokens=kv_tokens,
        is_embedder=embeddings,
    )
    with closing(bind(host, port)) as listener, suppress(KeyboardInterrupt):
        words = f"a simulated worker answers at http://{host}:{port}; it is not a model"
        typer.echo(words)
        config = uvicorn.Config(
            build_simulator(settings), loop="uvloop", http="httptools", access_log=False,
            log_level="warning", server_header=False,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])
