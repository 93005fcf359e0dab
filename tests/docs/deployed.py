"""What the files that operators copy say, read as those who run them would read it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer.main

from darkroom.cli import app

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "darkroom.service"
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
GUIDE = ROOT / "docs" / "guides" / "operating.md"


def asked_of_the_cli(words: Sequence[str]) -> dict[str, Any]:
    """What `darkroom COMMAND ...` would be called with; raises where it has no such command, flag or value."""
    program, name, *arguments = words
    assert Path(program).name == "darkroom"
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, list(arguments)).params)


def unit_lines(text: str) -> list[tuple[str, str]]:
    """The directives of a unit, in order: a name may come more than once."""
    lines = (line.strip() for line in text.splitlines())
    return [
        (name, value) for name, sep, value in (line.partition("=") for line in lines if line[:1] not in "#;[") if sep
    ]


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Containerfile, continued lines joined, comments left out."""
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = (line.strip() for line in bare.replace("\\\n", " ").splitlines())
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line)]


def shell_commands(said: str) -> list[list[str]]:
    """The commands of a RUN line, each as its words."""
    return [shlex.split(command) for command in re.split(r"&&|;", said)]
