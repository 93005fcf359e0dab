"""What every command that touches models does first: settings, and quiet libraries."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

from .. import config
from ..models.catalogue import Catalogue, catalogue

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The darkroom.toml to read.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on stdout.")]


def start(config_file: Path | None) -> tuple[config.Settings, Catalogue]:
    """Settings and catalogue of this process; from here on the libraries keep their chatter to themselves."""
    settings = config.load(config_file)
    quiet(is_offline=settings.offline)
    return settings, catalogue(settings)


def with_host(settings: config.Settings, host: str | None) -> config.Settings:
    """The settings with the address that the command line says; None: as they are."""
    if host is None:
        return settings
    return settings.model_copy(update={"serve": settings.serve.model_copy(update={"host": host})})


def quiet(*, is_offline: bool) -> None:
    """Tell the libraries, before they are imported, that people read this output."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if is_offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")


def quiet_bars() -> None:
    """Switch off the libraries' bars for reading from disk; those of downloads stay."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
