"""`darkroom export`: a model for a site that stays on TorchServe or Triton, run there by the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..models.catalogue import Entry
from . import say
from .start import ConfigOption, JsonOption, start

app = typer.Typer(help="A model for another server, which runs it in Darkroom's engine.", rich_markup_mode=None)
Model = Annotated[str, typer.Argument(help="A model's name, or a path to one.")]
NameOption = Annotated[
    str | None, typer.Option(help="What the server calls it; the model's own unless said.", show_default=False)
]
WeightsOption = Annotated[bool, typer.Option("--with-weights", help="Put the weights in, to carry it elsewhere.")]
InstancesOption = Annotated[
    int,
    typer.Option(
        min=1,
        max=64,
        help="Processes that hold the model, on Triton on each device; they share no batches.",
    ),
]


@app.command("torchserve")
def torchserve(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The model store: the folder that NAME.mar goes to.")
    ] = Path("model-store"),
    name: NameOption = None,
    with_weights: WeightsOption = False,
    instances: InstancesOption = 1,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a model archive for TorchServe; docs/guides/torchserve.md."""
    from ..integrations.torchserve.archive import write_archive

    settings, catalogue = start(config)
    entry = catalogue.find(model)
    made = write_archive(settings, entry, output, name=name, has_weights=with_weights, instances=instances)
    _tell(made, entry, f"torchserve --model-store {output} --models {made.name}", as_json=as_json)


@app.command("triton")
def triton(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The model repository: the folder that the folder NAME goes to.")
    ] = Path("model-repository"),
    name: NameOption = None,
    with_weights: WeightsOption = False,
    instances: InstancesOption = 1,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a model into a repository for Triton; docs/guides/triton.md."""
    from ..integrations.triton.repository import write_repository

    settings, catalogue = start(config)
    entry = catalogue.find(model)
    made = write_repository(settings, entry, output, name=name, has_weights=with_weights, instances=instances)
    # By itself Triton listens on every address, and asks nobody for a key.
    closed = "--http-address 127.0.0.1 --grpc-address 127.0.0.1 --allow-metrics false"
    _tell(made, entry, f"tritonserver --model-repository {output} {closed}", as_json=as_json)


def _tell(made: Path, entry: Entry, command: str, *, as_json: bool) -> None:
    from ..integrations.packing import left_out

    if unused := left_out(entry):
        say.note(f"left out, for no request there can ask for it: {', '.join(unused)}")
    if as_json:
        say.result({"path": str(made.absolute())})
        return
    typer.echo(str(made))
    say.note(f"next: {command}")
