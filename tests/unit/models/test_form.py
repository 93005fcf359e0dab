"""What a plain pipeline takes, read from its file and never by running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darkroom.config import load
from darkroom.errors import BadInput, InvalidConfig, UnknownArgument
from darkroom.models.catalogue import Catalogue, catalogue
from darkroom.models.form import BOUNDS, MOST, Form, read_form
from darkroom.models.offer import PIPELINE, SIDE_RANGE, plain_offer
from darkroom.models.request import MAX_GUIDANCE, MAX_IMAGES, validate
from darkroom.models.solvers import max_steps

HEAD = """
raise RuntimeError("this file was run")
from typing import Annotated, Literal, Optional
import PIL.Image, darkroom
from pydantic import Field

@darkroom.pipeline(models=["landscapes"], calls=2)
"""
WHOLE = '''def shot(
    run,
    prompt: str,
    background: "str" = "a table",
    image: PIL.Image.Image | None = None,
    count: Annotated[int, Field(ge=1, le=9, description="how many")] = 2,
    weight: float = 0.5,
    is_framed: bool = False,
    finish: Literal["sharp", "soft"] = "sharp",
    note: Optional[str] = None,
    *,
    seed: int = 0,
):
    """One sentence
    in two lines.

    More."""
'''


def form_of(tmp_path: Path, text: str, head: str = HEAD) -> Form:
    file = tmp_path / "shots.py"
    file.write_text(head + text)
    return read_form(file, "shot")


def known(tmp_path: Path, table: str, text: str = WHOLE) -> Catalogue:
    (tmp_path / "shots.py").write_text(HEAD + text)
    (tmp_path / "darkroom.toml").write_text(f"[models.shot]\n{table}\n")
    return catalogue(load(tmp_path / "darkroom.toml"))


def test_the_schema_comes_from_the_signature_and_nothing_of_the_file_is_run(tmp_path: Path) -> None:
    form = form_of(tmp_path, WHOLE)
    assert (form.models, form.calls, form.description) == (("landscapes",), 2, "One sentence\nin two lines.")
    assert {name: field.schema() for name, field in form.fields.items()} == {
        "prompt": {"type": "string", "maxLength": 2000},
        "background": {"type": "string", "maxLength": 2000, "default": "a table"},
        "image": {"type": "string"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2, "description": "how many"},
        "weight": {"type": "number", "default": 0.5},
        "is_framed": {"type": "boolean", "default": False},
        "finish": {"type": "string", "enum": ["sharp", "soft"], "default": "sharp"},
        "note": {"type": "string", "maxLength": 2000},
    }
    assert [name for name, field in form.fields.items() if field.is_required] == ["prompt"]


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert form_of(tmp_path, WHOLE).checked({"prompt": "x", "count": 9, "note": None}) == {
        "prompt": "x",
        "background": "a table",
        "image": None,
        "count": 9,
        "weight": 0.5,
        "is_framed": False,
        "finish": "sharp",
        "note": None,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", 3),
        ("background", "x" * 2001),
        ("count", 0),
        ("count", 1.5),
        ("count", True),
        ("weight", "half"),
        ("weight", float("nan")),
        ("is_framed", 1),
        ("finish", "shiny"),
        ("finish", 3),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(BadInput, match=field) as raised:
        form_of(tmp_path, WHOLE).checked({"prompt": "x", field: value})
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def other(run, prompt: str): ...", "no function 'shot'"),
        ("def shot(): ...", "its first parameter is `run`"),
        ("def shot(run): ...", "needs a parameter `prompt: str`"),
        ("def shot(run, prompt: int): ...", "prompt must be text"),
        ("def shot(run, prompt: str, seed: float = 0.5): ...", "seed must be a whole number"),
        ("def shot(run, prompt): ...", "its annotation must be"),
        ("def shot(run, prompt: str, sizes: list[int]): ...", "its annotation must be"),
        ("def shot(run, prompt: str, kind: Literal[1, 2]): ...", "its annotation must be"),
        ("def shot(run, prompt: str, **more): ...", r"no \*args and no \*\*kwargs"),
        ("def shot(run, prompt: str, model: str = 'x'): ...", "model means something else"),
        ("def shot(run, prompt: str, photo: PIL.Image.Image): ...", "are called image, mask_image, control_image"),
        ("def shot(run, prompt: str, image: str = ''): ...", "are called image, mask_image, control_image"),
        ("def shot(run, prompt: str, n: int = LIMIT): ...", "write the value itself"),
        ("def shot(run, prompt: str, n: int = 'many'): ...", "default: n must be a whole number"),
        ("def shot(run, prompt: str, n: Annotated[int, Field(gt=1)] = 2): ...", "only ge, le, description are read"),
        ("def shot(run, prompt: str: ...", "not valid Python"),
        ("def shot(run, prompt: 'str |'): ...", "prompt: its annotation must be"),
        ("def shot(run, prompt: str, n: Annotated[()] = 2): ...", "n: its annotation must be"),
        ("def shot(run, prompt: str, n: Annotated[int, Field(ge='1')] = 2): ...", "n: ge must be a number"),
        ("def shot(run, prompt: str, n: Annotated[int, Field(le=1e999)] = 2): ...", "n: le must be a number"),
        ("def shot(run, prompt: str, n: Annotated[int, Field(description=1)] = 2): ...", "description must be text"),
        ("def shot(run, prompt: str, n: Annotated[int, Field(ge=3, le=2)] = 2): ...", "which nothing is"),
        ("def shot(run, prompt: str, /): ...", "no / behind the first parameter"),
        ("def shot(run, prompt: str, strength: float = 2.0): ...", "strength must be a finite number from 0 to 1"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as raised:
        form_of(tmp_path, text)
    assert (raised.value.field, str(tmp_path) in raised.value.message) == ("pipeline", True)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("", "must stand above it"),
        ("@darkroom.pipeline(models=[])\n", "models must be a list"),
        ("@darkroom.pipeline(models=NAMES)\n", "write the value itself"),
        ('@darkroom.pipeline(models=["a"], calls=0)\n', "calls must be"),
    ],
)
def test_the_decorator_must_say_which_models(tmp_path: Path, head: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        form_of(tmp_path, "def shot(run, prompt: str): ...", head)


def test_numbers_that_the_door_knows_have_its_bounds_unless_they_say_their_own(tmp_path: Path) -> None:
    usual = "num_inference_steps: int = 20, width: int = 512, strength: float | None = None"
    own = "height: Annotated[int, Field(le=4096)] = 512, guidance_scale: Annotated[float, Field(ge=-1, le=99)] = 1.0"
    form = form_of(tmp_path, f"def shot(run, /, prompt: str, {usual}, {own}): ...")
    allowed = {"num_inference_steps": 1000, "width": 2048, "strength": 1, "height": 4096, "guidance_scale": -1}
    for name, value in allowed.items():
        assert form.checked({"prompt": "x", name: value})[name] == value
    refused = {"num_inference_steps": MOST - 1, "width": 2**40, "strength": 1.5, "height": 0, "guidance_scale": 100}
    for name, value in refused.items():
        with pytest.raises(BadInput, match=f"{name} must be") as raised:
            form.checked({"prompt": "x", name: value})
        assert raised.value.field == name


def test_those_bounds_are_the_doors() -> None:
    assert BOUNDS["width"] == BOUNDS["height"] == (1, SIDE_RANGE[1])
    assert BOUNDS["num_inference_steps"] == (1, max_steps(None, {}))
    assert (BOUNDS["guidance_scale"], BOUNDS["num_images"]) == ((0, MAX_GUIDANCE), (1, MAX_IMAGES))


def test_a_file_that_is_changed_is_read_again(tmp_path: Path) -> None:
    assert "weight" in form_of(tmp_path, WHOLE).fields
    assert "weight" not in form_of(tmp_path, "def shot(run, prompt: str): ...").fields


# As a model of the catalogue.


def test_it_is_a_model_that_is_found_beside_darkroom_toml(tmp_path: Path) -> None:
    entry = known(tmp_path, 'pipeline = "shots:shot"').find("shot")
    entry.check()
    offer = plain_offer(entry)
    assert ([part.name for part in entry.parts], offer.tasks, offer.form) == (["landscapes"], (PIPELINE,), entry.form)
    assert (offer.fixed_rows, offer.default_size, offer.solvers, dict(offer.presets)) == (8, (256, 256), (), {})


def test_its_revision_follows_its_file(tmp_path: Path) -> None:
    revisions = {
        known(tmp_path, 'pipeline = "shots:shot"', text).find("shot").revision() for text in (WHOLE, WHOLE + "# ")
    }
    assert len(revisions) == 2


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('pipeline = "shots"', "a function is named by pipeline = 'module:function' alone"),
        ('pipeline = "shots:shot"\ndtype = "float16"', "dtype is for the models to say that the function calls"),
    ],
)
def test_a_wrong_entry_stops_the_start(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        known(tmp_path, table)


def test_models_that_it_cannot_call_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text(
        'import darkroom\n@darkroom.pipeline(models=["shot"])\ndef nested(run, prompt: str): ...\n'
        '@darkroom.pipeline(models=["away"])\ndef far(run, prompt: str): ...\n'
        '@darkroom.pipeline(models=["nobody"])\ndef lost(run, prompt: str): ...\n'
    )
    more = '[models.nested]\npipeline = "more:nested"\n[models.far]\npipeline = "more:far"\n'
    more += '[models.lost]\npipeline = "more:lost"\n[models.away]\nremote = "http://127.0.0.1:9"'
    found = known(tmp_path, f'pipeline = "shots:shot"\n{more}')
    for name, said in (("nested", "plain pipeline itself"), ("far", "another Darkroom"), ("lost", "there are:")):
        with pytest.raises(InvalidConfig, match=said):
            found.find(name).check()


def test_a_request_is_judged_by_the_form(tmp_path: Path) -> None:
    offer = plain_offer(known(tmp_path, 'pipeline = "shots:shot"').find("shot"))
    asked = validate({"prompt": "x", "seed": 5, "count": 3, "num_images_per_prompt": 2}, offer)
    assert (asked.task, asked.seed, asked.num_images_per_prompt, asked.steps_to_run) == (PIPELINE, 5, 2, 50)
    assert asked.settings() == {
        "prompt": "x",
        "background": "a table",
        "count": 3,
        "weight": 0.5,
        "is_framed": False,
        "finish": "sharp",
        "seed": 5,
    }
    for inputs, kind, field in (
        ({"prompt": "x", "backgrund": "y"}, UnknownArgument, "backgrund"),
        ({"prompt": " "}, BadInput, "prompt"),
        ({}, BadInput, "prompt"),
        ({"prompt": "x", "image": "text"}, BadInput, "image"),
        ({"prompt": "x", "task": "inpaint"}, BadInput, "task"),
    ):
        with pytest.raises(kind) as raised:
            validate({"seed": 5, **inputs}, offer)
        assert raised.value.field == field
