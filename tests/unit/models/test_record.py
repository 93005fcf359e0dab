"""What a picture says of itself."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from darkroom.models.pipelines import PIPELINE
from darkroom.models.record import record
from darkroom.models.request import ImageRequest
from darkroom.models.step_cache import MARK

ASKED = ImageRequest("a lake", "", 2, 4.0, 192, 192, 1, 7, None, "text-to-image")


def test_a_record_names_the_modules_that_ran_alone_for_their_bits_and_is_silent_otherwise() -> None:
    pipe = SimpleNamespace(scheduler=None)
    assert "unsteady" not in record(ASKED, pipe, {"device": "cpu"})
    assert record(ASKED, pipe, {"device": "cpu"}, ("unet",))["unsteady"] == ["unet"]


class Cached:
    scheduler = None


setattr(Cached, MARK, 0.1)
TUNED = {"compile": True, "float8": True, "step_cache": 0.1}


@pytest.mark.parametrize(
    ("conditions", "pipe", "expected"),
    [
        ({}, SimpleNamespace(), {"float8": True}),
        ({"reproducible": False}, SimpleNamespace(), {"compile": True, "float8": True}),
        ({"reproducible": False}, Cached(), TUNED),
    ],
)
def test_a_record_says_of_the_tuning_what_made_that_image(
    conditions: dict[str, Any], pipe: Any, expected: dict[str, Any]
) -> None:
    assert record(ASKED, pipe, {"tuning": TUNED, **conditions})["tuning"] == expected


def test_a_plain_pipeline_s_record_says_the_tuning_of_each_model_that_it_calls() -> None:
    asked = replace(ASKED, task=PIPELINE)
    conditions = {"tuning": {"one": {"compile": True, "step_cache": 0.1}, "other": {"float8": True}}}
    assert record(asked, SimpleNamespace(), conditions)["tuning"] == {"other": {"float8": True}}
    assert record(asked, SimpleNamespace(), {**conditions, "reproducible": False})["tuning"]["one"] == {"compile": True}
