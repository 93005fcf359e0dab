"""What the reference's tables say is what the code has: each error's status and exit code, each setting's default."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from darkroom import config, errors
from darkroom.access_settings import OidcSettings

ROOT = Path(__file__).parents[2]
ERRORS = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
ERROR_ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (\d+) \| (\d+) \|", re.MULTILINE)
SECTIONS = {
    "## The service: `[serve]`": config.ServeSettings,
    "## Signing in: `[oidc]`": OidcSettings,
    "## What is refused: `[safety]`": config.SafetySettings,
    "## Slack: `[slack]`": config.SlackSettings,
    "## A model: `[models.NAME]`": config.ModelSettings,
    "### A preset: `[models.NAME.presets.PRESET]`": config.PresetSettings,
}


def kinds() -> list[type[errors.DarkroomError]]:
    found = (value for _, value in inspect.getmembers(errors, inspect.isclass))
    return [value for value in found if issubclass(value, errors.DarkroomError)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_an_error_has_the_code_the_status_and_the_exit_code_that_the_table_says(
    kind: type[errors.DarkroomError],
) -> None:
    said = {row[0]: row[1:] for row in ERROR_ROW.findall(ERRORS)}
    assert said[kind.__name__] == (kind.code, str(kind.http_status), str(kind.exit_code))


def rows() -> list[tuple[str, str, str]]:
    """Section, key and what its default cell says."""
    found = []
    for heading, kind in SECTIONS.items():
        [text] = SETTINGS.split(f"{heading}\n")[1:]
        for line in re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            key = cells[0].strip("`")
            if line.startswith("| `") and key in kind.model_fields:
                found.append((heading, key, cells[-2]))
    return found


@pytest.mark.parametrize(("heading", "key", "said"), rows(), ids=lambda value: value)
def test_a_setting_has_the_default_that_the_table_says(heading: str, key: str, said: str) -> None:
    field = SECTIONS[heading].model_fields[key]
    if said == "must be given":
        assert field.is_required()
        return
    default: Any = field.get_default(call_default_factory=True)
    literal = re.fullmatch(r"`(.+)`", said)
    if literal is None:  # words: what follows where nothing is set
        assert default in (None, (), {}, 0) or isinstance(default, BaseModel), f"{key} has the default {default!r}"
        return
    wanted = tomllib.loads(f"x = {literal[1]}")["x"]
    if isinstance(default, tuple):
        assert [str(each) for each in default] == wanted
    else:
        assert default == wanted


def test_the_tables_have_every_section() -> None:
    assert {heading for heading, _, _ in rows()} == set(SECTIONS)
    assert len(rows()) > 80
