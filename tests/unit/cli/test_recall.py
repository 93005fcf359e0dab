"""What a picture says of how it was made, and what is no longer so."""

from __future__ import annotations

from typing import Any

from darkroom.cli.recall import Recalled
from darkroom.config import PresetSettings

NOW: dict[str, Any] = {
    "revision": "a" * 64,
    "device": "cpu",
    "fixed_rows": 8,
    "versions": {"torch": "1", "diffusers": "2"},
}


def differences(then: dict[str, Any]) -> list[str]:
    return Recalled("landscapes", {}, PresetSettings(num_inference_steps=2), 8, then).differences(NOW)


def test_a_picture_made_under_the_same_conditions_differs_in_nothing() -> None:
    assert differences(NOW) == []


def test_a_picture_made_in_company_may_differ() -> None:
    [said] = differences({**NOW, "reproducible": False})
    assert "outside of reproducible mode" in said
    assert "differ slightly" in said


def test_a_picture_whose_model_ran_alone_for_its_bits_may_differ() -> None:
    [said] = differences({**NOW, "unsteady": ["unet"]})
    assert "company changed the model's bits" in said


def test_each_condition_that_has_changed_is_said() -> None:
    said = differences({**NOW, "device": "cuda", "versions": {"torch": "1", "diffusers": "1"}})
    assert [each.split(":")[0] for each in said] == ["device was cuda and is cpu", "diffusers was 1 and is 2"]


def test_a_picture_that_was_made_faster_or_smaller_may_differ() -> None:
    [said] = differences({**NOW, "tuning": {"float8": True, "attention": "native"}})
    assert said == "tuning was float8 True and attention native and is None: the pixels may differ"


def test_an_adapter_that_is_another_file_by_now_is_said() -> None:
    then, now = {"neon": "1" * 64, "ink": "2" * 64}, {"neon": "3" * 64, "ink": "2" * 64}
    recalled = Recalled("landscapes", {}, PresetSettings(num_inference_steps=2), 8, {**NOW, "adapter_digests": then})
    [said] = recalled.differences({**NOW, "adapter_digests": now})
    assert said.startswith("adapter neon was 111111111111 and is 333333333333")
