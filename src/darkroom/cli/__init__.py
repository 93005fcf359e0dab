"""The command line; one file a command group. Exit codes: 0 done, 2 bad input, 1 anything else, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer import TyperException
from typer.main import get_command

from .. import __version__
from ..errors import BadInput, DarkroomError
from ..wording import plain
from . import adapters, bench, doctor, export, fleet, generate, jobs, keys, models, processes, say, serve, slack
from .flags import command_in, flag_of, wants_json

INTERRUPTED = 130  # 128 + SIGINT, as shells count

app = typer.Typer(
    name="darkroom",
    help="Production serving for diffusion models.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"darkroom {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and stop.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Production serving for diffusion models."""
    if context.invoked_subcommand is None:
        say.note(context.get_help())
        raise typer.Exit(2)


app.command("generate")(generate.generate)
app.add_typer(models.app, name="models")
app.add_typer(adapters.app, name="adapters")
app.add_typer(keys.app, name="keys")
app.add_typer(fleet.app, name="fleet")
app.command("doctor")(doctor.doctor)
app.command("serve")(serve.serve)
app.command("worker")(processes.worker)
app.command("gateway")(processes.gateway)
app.command("forward")(processes.forward)
app.command("fork-server", hidden=True)(processes.fork_server)
app.command("submit")(jobs.submit)
app.command("jobs")(jobs.jobs)
app.command("cancel")(jobs.cancel)
app.command("logs")(jobs.logs)
app.command("bench")(bench.bench)
app.command("slack")(slack.slack)
app.add_typer(export.app, name="export")


def main() -> None:
    """The entry point of the `darkroom` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; expected errors become one line on stderr."""
    try:
        return int(app(args=list(arguments), prog_name="darkroom", standalone_mode=False) or 0)
    except DarkroomError as error:
        return _refuse(error, arguments)
    except TyperException as error:
        refused = BadInput(plain(error.format_message()))
        refused.exit_code = error.exit_code
        return _refuse(refused, arguments)
    except (KeyboardInterrupt, typer.Abort):
        say.problem("interrupted")
        return INTERRUPTED


def _refuse(error: DarkroomError, arguments: Sequence[str]) -> int:
    command = command_in(get_command(app), arguments)
    say.refusal(error, flag_of(command, error), as_json=wants_json(command, arguments))
    return error.exit_code
