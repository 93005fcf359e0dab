"""What a model will not see is quoted, letter for letter."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from darkroom.models.window import unseen, warnings_for, windows_of_folder
from tests.unit.models.conftest import LANDSCAPES

WINDOWS = windows_of_folder(LANDSCAPES)


def test_a_short_prompt_is_seen_whole() -> None:
    assert warnings_for({"prompt": "a red fox"}, WINDOWS) == []


def test_the_lost_words_are_quoted() -> None:
    prompt = "a lake, " * 60 + "and a golden pagoda"
    (warning,) = warnings_for({"prompt": prompt, "negative_prompt": "rain"}, WINDOWS)
    assert warning.startswith("prompt is longer than the model reads")
    assert warning.endswith("and a golden pagoda'")


@given(st.text("ab ,.é\nQ7", max_size=300))
def test_what_is_quoted_is_what_the_pipelines_tokenizer_drops(prompt: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(LANDSCAPES / "tokenizer")
    lost = unseen(prompt, WINDOWS)
    seen = prompt[: len(prompt) - len(lost)]
    full = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length).input_ids
    assert tokenizer(seen, truncation=True, max_length=tokenizer.model_max_length).input_ids == full


def test_the_older_two_file_form_of_the_tokenizer_says_the_same(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").unlink()
    prompt = "Two pine trees by a LAKE, don't mind 42 café birds; " * 12
    assert unseen(prompt, windows_of_folder(folder)) == unseen(prompt, WINDOWS) != ""


def test_a_tokenizer_of_another_kind_gives_no_window(folder: Path) -> None:
    for name in ("tokenizer.json", "merges.txt"):
        (folder / "tokenizer" / name).unlink()
    assert windows_of_folder(folder) == []
