"""What people type behind the command, as Slack delivers it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import BadInput
from darkroom.integrations.slack.words import FLAGS, escape, read_wanted, unescape


@pytest.mark.parametrize(
    ("delivered", "typed"),
    [
        ("cat &amp; dog &lt;3 &gt; 2", "cat & dog <3 > 2"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("<@U012|ann> and <@U013>", "@ann and @U013"),
        ("in <#C1|general>, <!here>, <!subteam^S1|@night shift>", "in #general, @here, @night shift"),
        ("as on <https://a.example/b?c=d&amp;e|a.example>", "as on a.example"),
        ("<https://a.example/b?c=d&amp;e> <mailto:a@b.example|a@b.example>", "https://a.example/b?c=d&e a@b.example"),
        ("“a cat’s eye”\u00a0at night ", '"a cat\'s eye" at night'),
    ],
)
def test_slack_s_escapes_are_undone(delivered: str, typed: str) -> None:
    assert unescape(delivered) == typed


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="“”„‘’\u00a0")))
def test_what_is_escaped_is_the_same_text_and_mentions_nobody(text: str) -> None:
    escaped = escape(text)
    assert unescape(escaped) == text.strip()
    assert "<" not in escaped
    assert ">" not in escaped


@pytest.mark.parametrize(
    ("text", "prompt", "wish"),
    [
        ("a red fox", "a red fox", {}),
        ('"a red fox"', "a red fox", {}),
        ('"a" fox and "b"', '"a" fox and "b"', {}),
        ("a cat's eye --steps 4", "a cat's eye", {"num_inference_steps": 4}),
        ("--preset fast a fox", "a fox", {"preset": "fast"}),
        ("a fox --seed=7 in snow —images 2", "a fox in snow", {"seed": 7, "num_images_per_prompt": 2}),
        ("a fox –size 256×192", "a fox", {"width": 256, "height": 192}),
        ("a fox --SIZE 256X192", "a fox", {"width": 256, "height": 192}),
        ('a fox --negative "fog, people" --model sd', "a fox", {"negative_prompt": "fog, people", "model": "sd"}),
        ("a fox --negative 'fog'", "a fox", {"negative_prompt": "fog"}),
        ("a fox --adapter ink=0.8 --adapter neon=-1", "a fox", {"adapters": {"ink": 0.8, "neon": -1.0}}),
        ("a fox --guidance 4.5", "a fox", {"guidance_scale": 4.5}),
        ("dusk — steps down to the sea", "dusk — steps down to the sea", {}),
        ("a house —old and grey", "a house —old and grey", {}),
        ("well-lit, 1--2 foxes -- far away", "well-lit, 1--2 foxes -- far away", {}),
        ("", "", {}),
    ],
)
def test_flags_and_prompt_are_told_apart(text: str, prompt: str, wish: dict[str, Any]) -> None:
    wanted = read_wanted(text)
    assert (wanted.prompt, dict(wanted.wish)) == (prompt, wish)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a fox --stesp 4", r"there is no --stesp \(did you mean steps\?\); there are: --preset, --steps"),
        ("a fox --steps", "--steps needs a value: denoising steps"),
        ("a fox --steps --seed 7", "--steps needs a value"),
        ("a fox --steps many", "--steps must be a whole number, not 'many'"),
        ("a fox --guidance high", "--guidance must be a number, not 'high'"),
        ("a fox --size 256", "--size must be WIDTHxHEIGHT in pixels, such as 256x256, not '256'"),
        ("a fox --adapter ink", "--adapter must be NAME=WEIGHT, such as neon=0.8, not 'ink'"),
        ('a fox --negative "fog', "--negative: its value needs a quote at its end"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_flag(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_wanted(text)


@given(st.text(max_size=80), st.sampled_from(sorted(FLAGS)))
def test_no_text_does_worse_than_a_refusal(text: str, flag: str) -> None:
    for each in (text, f"{text} --{flag} {text}", f"—{flag}{text}"):
        with suppress(BadInput):
            assert read_wanted(unescape(each)).prompt == read_wanted(unescape(each)).prompt.strip()
