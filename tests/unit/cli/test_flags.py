"""A refusal names the flag of the very command that was called, and nothing where that has none."""

from __future__ import annotations

import pytest
from typer.main import get_command

from darkroom.cli import app
from darkroom.cli.flags import PARAMETERS, command_in, flag_of, wants_json
from darkroom.errors import BadInput, InvalidConfig, UnknownModel

ROOT = get_command(app)


@pytest.mark.parametrize(
    ("words", "field", "flag"),
    [
        ("submit", "priority", "--priority"),
        ("submit", "deadline_s", "--deadline"),
        ("submit", "num_inference_steps", "--steps"),
        ("submit", "height", "--size"),
        ("submit", "output.format", "--format"),
        ("submit", "prompt", "PROMPT"),
        ("submit", "strength", None),
        ("submit", "metadata", None),
        ("submit", None, None),
        ("generate", "strength", "--strength"),
        ("generate", "image", "--init-image"),
        ("jobs", "state", "--state"),
        ("jobs", "job_id", "JOB_ID"),
        ("bench", "--json", "--json"),
        ("bench", "url", "--url"),
        ("jobs", "url", None),
        ("keys create", "name", "NAME"),
        ("keys create", "weight", "--weight"),
        ("keys revoke", "key_id", "ID"),
        ("models", "model", None),
        ("models add", "config", "--config"),
    ],
)
def test_the_flag_is_the_commands_own(words: str, field: str | None, flag: str | None) -> None:
    assert flag_of(command_in(ROOT, [*words.split(), "x"]), BadInput("no", field=field)) == flag


def test_every_other_name_is_a_flag_of_some_command() -> None:
    names = {each for command in ROOT.commands.values() for parameter in command.params for each in parameter.opts}
    assert {f"--{name}" for name in PARAMETERS.values()} <= names


def test_a_key_of_the_settings_is_no_flag_of_the_same_name() -> None:
    generate = command_in(ROOT, ["generate"])
    assert flag_of(generate, InvalidConfig("no such key", field="model")) is None
    assert flag_of(generate, InvalidConfig("no such file", field="config")) == "--config"
    assert flag_of(generate, UnknownModel("no such model", field="model")) == "--model"


def test_a_program_reads_where_json_is_no_file() -> None:
    assert wants_json(command_in(ROOT, ["jobs"]), ["jobs", "--json"])
    assert not wants_json(command_in(ROOT, ["jobs"]), ["jobs"])
    assert not wants_json(command_in(ROOT, ["bench"]), ["bench", "--json", "x.json"])
