"""The command ``moegate``: its commands in the order in which an operator meets them."""

import sys
from importlib.metadata import version

import typer
from sqlalchemy.exc import SQLAlchemyError

from gateway.cli import policy_versions
from gateway.cli.catalogue import catalogue
from gateway.cli.doctor import doctor
from gateway.cli.init import init
from gateway.cli.keys import keys
from gateway.cli.policy import policy
from gateway.cli.price import price
from gateway.cli.serve import serve
from gateway.cli.simulate import simulate
from gateway.cli.translate import translate
from gateway.cli.usage import usage
from gateway.errors import Refused, StartError
from policies.document import PolicyError

app = typer.Typer(
    name="moegate",
    help="One endpoint in front of Claude, GPT, Gemini and your own SGLang cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"moegate {version('moegate')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: bool = typer.Option(
        False, "--version", help="Show the version and end.", callback=_show_version, is_eager=True
    ),
) -> None:
    del show_version


app.command()(serve)
app.command()(init)
app.command()(doctor)
app.add_typer(keys, name="keys")
policy_versions.add_to(policy)
app.add_typer(policy, name="policy")
app.command()(usage)
app.command()(price)
app.command()(catalogue)
app.command()(translate)
app.command()(simulate)


def main() -> None:
    """Run the command line; expected errors are one line on standard error and exit code 1."""
    try:
        app()
    except (StartError, PolicyError, Refused) as error:
        sys.stderr.write(f"moegate: {error}\n")
        sys.exit(1)
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        sys.stderr.write(f"moegate: the database does not answer: {' '.join(str(cause).split())}\n")
        sys.exit(1)
