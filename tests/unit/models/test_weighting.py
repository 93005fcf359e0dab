"""How weights in a prompt are read: brackets as people know them, and what does not match is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import BadInput, NotSupported
from darkroom.models.weighting import check_pipeline, fragments_of, plain_text

READ: list[tuple[str, list[tuple[str, float]]]] = [
    ("a red fox", [("a red fox", 1.0)]),
    ("a (red:1.3) fox", [("a ", 1.0), ("red", 1.3), (" fox", 1.0)]),
    ("a (red fox: .5)", [("a ", 1.0), ("red fox", 0.5)]),
    ("(red) [fox]", [("red", 1.1), (" ", 1.0), ("fox", 1 / 1.1)]),
    ("((red:1.2) fox:2)", [("red", 2.4), (" fox", 2.0)]),
    ("([red])", [("red", pytest.approx(1.0))]),  # type: ignore[list-item]
    (r"a smile \(:1.3\)", [("a smile (:1.3)", 1.0)]),
    (r"c:\\x \a", [(r"c:\x \a", 1.0)]),
    ("ratio 16:9, at 8:15", [("ratio 16:9, at 8:15", 1.0)]),
    ("(a:b:1.5)", [("a:b", 1.5)]),
    ("(red:0)", [("red", 0.0)]),
    ("()", []),
    ("", []),
]


@pytest.mark.parametrize(("prompt", "wanted"), READ)
def test_words_get_the_weights_of_the_brackets_around_them(prompt: str, wanted: list[tuple[str, float]]) -> None:
    assert [(each.text, pytest.approx(each.weight)) for each in fragments_of(prompt)] == wanted
    assert plain_text(prompt) == "".join(text for text, _ in wanted)


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("a (red", r"'\(' at character 3 has no other half"),
        ("red) fox", r"'\)' at character 4 has no other half"),
        ("a red:1.3) fox", r"'\)' at character 10 has no other half"),
        ("(a]", r"'\]' at character 3"),
        ("[a:1.2)", r"'\)' at character 7"),
        ("(a:6)", "has the weight 6; at most 5"),
        ("((((a:2):2):2):2)", "has the weight 16; at most 5"),
        ("((a:0):" + "9" * 400 + ")", "the weight at character 7 is inf; at most 100"),
        ("(" * 17 + "a" + ")" * 17, "16 deep at most"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(prompt: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        fragments_of(prompt, "negative_prompt")
    assert caught.value.field == "negative_prompt"
    assert caught.value.message.startswith("negative_prompt")


@given(st.text(alphabet="ab ()[]\\:1.3", max_size=60))
def test_any_text_is_read_or_refused_and_its_words_keep_their_order(prompt: str) -> None:
    try:
        found = fragments_of(prompt)
    except BadInput:
        return
    assert all(each.text and each.weight >= 0 for each in found)
    letters = [letter for letter in prompt if letter in "ab"]
    assert [letter for letter in plain_text(prompt) if letter in "ab"] == letters


@pytest.mark.parametrize("prompt", ["(" * 16 + "a" * 1968 + ")" * 16, "(a)" * 666, ":1" * 1000])
def test_the_longest_prompts_are_read(prompt: str) -> None:
    """A reader that tries every pairing of brackets would not end here."""
    assert len(plain_text(prompt)) in (1968, 666, 2000)


def test_only_models_of_clip_take_weights() -> None:
    for name in ("StableDiffusionPipeline", "StableDiffusionXLInpaintPipeline"):
        check_pipeline(name, "m")
    for name in ("StableDiffusion3Pipeline", "FluxPipeline", "MyOwnPipeline", "StableDiffusionOfMinePipeline"):
        with pytest.raises(NotSupported, match="takes no weighted prompts") as caught:
            check_pipeline(name, "m")
        assert caught.value.field == "prompt_style"
