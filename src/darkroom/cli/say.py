"""What people and programs are told: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
from typing import Any

import typer

from ..errors import DarkroomError


def note(text: str) -> None:
    """Something worth knowing."""
    typer.echo(text, err=True)


def warning(text: str) -> None:
    """Something that may not be what was meant."""
    typer.echo(f"warning: {text}", err=True)


def problem(text: str) -> None:
    """Why it stopped, in one line."""
    typer.echo(f"darkroom: {text}", err=True)


def refusal(error: DarkroomError, flag: str | None = None, *, as_json: bool = False) -> None:
    """An expected error: one line, with the flag to blame; for programs also as JSON on stdout."""
    said = f"{error.message} [{flag}]" if flag else error.message
    problem(" ".join([said, *(f"({note})" for note in getattr(error, "__notes__", ()))]))
    if as_json:
        result({"error": {"code": error.code, "message": error.message, "field": error.field}})


def result(said: Any) -> None:
    """The answer for programs: one JSON object on stdout."""
    typer.echo(json.dumps(said, sort_keys=True))
