"""Each docs check can fail, and the project's own pages pass them all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict

from tools import docs_check
from tools.docs_check import Page

ROOT = Path(__file__).resolve().parents[2]
FLAGS = {"darkroom": set(), "darkroom generate": {"--steps", "--output"}, "darkroom models": set()}


def page(text: str, path: Path = Path("page.md")) -> Page:
    return Page(path, text)


def test_the_pages_agree_with_the_code() -> None:
    assert list(docs_check.problems(ROOT)) == []


def test_a_link_to_a_missing_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, with commas\n")
    text = "[a](there.md) [b](there.md#a-heading-with-commas) [c](gone.md) [d](there.md#gone) [e](https://example.org)"
    found = list(docs_check.broken_links([page(text, tmp_path / "page.md")]))
    assert [line.split()[-1] for line in found] == ["gone.md", "there.md#gone"]


def test_a_link_to_a_missing_image_is_found(tmp_path: Path) -> None:
    assert list(docs_check.broken_links([page("![sheet](images/sheet.png)", tmp_path / "page.md")]))


def test_brackets_in_code_are_no_links() -> None:
    assert not list(docs_check.broken_links([page("```python\nx = handlers[name](request)\n```\n")]))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("make demo", None),
        ("make PYTHON3=python3.12 demo", None),
        ("make coffee", "no door `make coffee`"),
        ('darkroom generate "a fox --loud" --steps 4', None),
        (".venv/bin/darkroom generate x --steps=4 # --not-a-flag", None),
        ("darkroom generate x --speed 4", "`darkroom generate` has no flag --speed"),
        ("darkroom paint x", "no command `darkroom paint`"),
    ],
)
def test_commands_in_pages_must_exist(line: str, problem: str | None) -> None:
    for text in (f"```sh\n{line}\n```\n", f"Run `{line}` now."):
        found = list(docs_check.unknown_commands([page(text)], {"demo"}, FLAGS))
        assert found == ([f"page.md: {problem}"] if problem else [])


def test_a_word_of_the_code_that_a_page_leaves_out_is_found() -> None:
    text = "The code `bad_input` and `--steps-more N`, and in prose only: cancelled."
    found = list(docs_check.unsaid(page(text), "code", ["bad_input", "cancelled", "--steps"]))
    assert [line.split("`")[1] for line in found] == ["cancelled", "--steps"]


def test_error_codes_are_read_from_the_tree() -> None:
    class Top(Exception):
        code = "top"

    class Leaf(Top):
        code = "leaf"

    assert docs_check.error_codes(Top) == {"Top": "top", "Leaf": "leaf"}


def test_flags_are_read_from_every_command_below() -> None:
    app = typer.Typer(add_completion=False)
    app.callback()(lambda: None)

    @app.command()
    def go(is_fast: Annotated[bool, typer.Option("--fast", "-f")] = False) -> None: ...

    flags = docs_check.command_flags(typer.main.get_command(app), "darkroom")
    assert flags == {"darkroom": set(), "darkroom go": {"--fast"}}


def test_arguments_are_read_from_the_source() -> None:
    source = (
        "class A:\n    size: int = 1\n    def run(self, pipe, *, steps=1): ...\nclass B:\n    def run(self, no): ...\n"
    )
    assert list(docs_check.argument_names(source, ["A", "A.run"])) == ["size", "pipe", "steps"]


def test_settings_are_read_from_models_inside_models() -> None:
    class Inner(BaseModel):
        dtype: str = ""

    class Outer(BaseModel):
        models: dict[str, Inner | None] = {}

    assert list(docs_check.setting_names(Outer)) == ["models", "dtype"]


def test_environment_variables_are_read_with_their_prefix() -> None:
    class Environment(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="DARKROOM_")
        home: str = ""

    assert list(docs_check.environment_names(Environment)) == ["DARKROOM_HOME"]


def test_event_types_are_read_without_their_fields() -> None:
    declared = "What happened.\n\n    Types: queued, progress {step, steps},\n    failed {error}. The last ends it.\n"
    assert docs_check.event_types(declared) == ["queued", "progress", "failed"]


def test_a_term_without_an_entry_is_found() -> None:
    glossary = page("**fiber** is one greenlet.\n\n- **job, attempt**: the row.\n\nA **tick** in passing.\n")
    found = list(docs_check.undefined_terms(glossary, ["fiber", "job", "attempt", "tick"]))
    assert found == ["page.md: no entry for **tick**"]


@pytest.mark.parametrize("advice", ["pip install darkroom", "uv pip install -U darkroom", "pip install torch darkroom"])
def test_advice_to_install_the_bare_name_is_found(advice: str) -> None:
    assert list(docs_check.bare_installs([page(f"Run `{advice}`.")]))


@pytest.mark.parametrize("advice", ["pip install darkroom-server", "pip install dist/darkroom_server-1-py3.whl"])
def test_installing_the_distribution_is_fine(advice: str) -> None:
    assert not list(docs_check.bare_installs([page(f"Run `{advice}`.")]))
