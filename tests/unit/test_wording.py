"""What is wrong is said in plain sentences, and an unknown name brings the known one that is nearest."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from darkroom.wording import counted, did_you_mean, plain, problem_said


class Body(BaseModel):
    count: int = Field(default=1, le=9)
    name: Annotated[str, Field(max_length=3)] = ""
    words: list[str] = Field(default=["a"], min_length=1)
    needed: int
    ours: int = 0

    @field_validator("ours")
    @classmethod
    def _check(cls, value: int) -> int:
        raise ValueError("Ours is never taken")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 10}, "must be less than or equal to 9"),
        ({"count": "x"}, "must be a valid integer, unable to parse string as an integer"),
        ({"name": "four"}, "must have at most 3 characters"),
        ({"words": []}, "must have at least 1 item after validation, not 0"),
        ({"ours": 1}, "ours is never taken"),
        ({}, "is needed"),
    ],
)
def test_a_problem_is_the_rest_of_a_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"needed": 1, **given} if given else {})
    assert problem_said(caught.value.errors()[0]) == said


def test_a_text_loses_the_phrases_and_nothing_else() -> None:
    assert plain("Invalid value for '--role': Value error, 'king' is not one of 'user'.") == (
        "Invalid value for '--role': 'king' is not one of 'user'."
    )
    assert plain("no picture should be larger") == "no picture should be larger"


def test_the_nearest_name_is_meant() -> None:
    assert did_you_mean("prot", ["host", "port", "store"]) == " (did you mean port?)"
    assert did_you_mean("colour", ["host", "port", "store"]) == ""
    assert did_you_mean("port" * 10**6, ["port"]) == ""


def test_a_part_of_one_name_alone_is_that_name() -> None:
    names = ["num_inference_steps", "guidance_scale", "controlnet_conditioning_scale"]
    assert did_you_mean("steps", names) == " (did you mean num_inference_steps?)"
    assert did_you_mean("stepz", names) == " (did you mean num_inference_steps?)"
    assert did_you_mean("guidance", names) == " (did you mean guidance_scale?)"
    assert did_you_mean("scale", names) == did_you_mean("_", names) == did_you_mean("", names) == ""


def test_one_is_not_many() -> None:
    assert [counted(number, "job") for number in (0, 1, 2000)] == ["0 jobs", "1 job", "2,000 jobs"]
