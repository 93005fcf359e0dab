"""Rules: what they refuse, whose pictures they have checked, and what is wrong with a file of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.config import SafetySettings
from darkroom.errors import BadInput, ContentRefused, InvalidConfig
from darkroom.safety import Rules, check_characters, read_rules

FILE = """
[default]
words = ["forbidden", "Very Bad Thing", "straße"]
patterns = ['''\\bdr[a4]gons?\\b''', "(a+)+$"]

[models.small]
words = ["extra"]
check_images = false

[tenants.kids]
words = ["sword"]
fields = ["prompt"]
check_images = true
"""


def rules(folder: Path, text: str = FILE, *, check_images: bool = True) -> Rules:
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return read_rules(SafetySettings(rules=path, check_images=check_images))


def refused(found: Rules, prompt: str, model: str = "m", tenant: str = "t", negative: str = "") -> str | None:
    """The field to blame; None: nothing is refused."""
    try:
        found.check_texts({"prompt": prompt, "negative_prompt": negative}, model, tenant)
    except ContentRefused as error:
        return error.field
    return None


@pytest.mark.parametrize(
    "prompt",
    [
        "a forbidden lake", "FORBIDDEN", "forbidden!", "for\u200bbidden", "for\u00adbidden", "a,forbidden,b",
        "forb\ufe0fidden", "snake_forbidden_case", "a very  bad\nthing", "very-bad thing", "STRASSE", "Straße",
        "a dragon", "two DR4GONS", "ｄｒａｇｏｎ", "\ud800 forbidden", "ｆｏｒｂｉｄｄｅｎ",
        "for\u2065bidden", "for\ufff0bidden", "for\U000e0000bidden", "for\U000e0fffbidden", "for\u3164bidden",
    ],
)  # fmt: skip
def test_a_word_is_found_however_it_is_written(tmp_path: Path, prompt: str) -> None:
    assert refused(rules(tmp_path), prompt) == "prompt"


@pytest.mark.parametrize("mark", ["\x00", "\x08", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\x9f"])
def test_a_control_character_is_refused_with_its_field_and_its_number(mark: str) -> None:
    with pytest.raises(BadInput, match=f"U\\+{ord(mark):04X}") as caught:
        check_characters({"prompt": "a lake", "negative_prompt": f"for{mark}bidden"})
    assert caught.value.field == "negative_prompt"


def test_tabs_and_ends_of_lines_are_no_fault() -> None:
    check_characters({"prompt": "a\tlake,\r\nat night\n"})


def test_a_mark_belongs_to_its_letter_whatever_invisible_stands_between(tmp_path: Path) -> None:
    found = rules(tmp_path, '[default]\nwords = ["caf\u00e9"]\n')
    assert refused(found, "a cafe\u200b\u0301") == "prompt"


@pytest.mark.parametrize("prompt", ["unforbidden", "forbiddenly", "a very bad day", "thing very bad", "dragonfly", ""])
def test_only_whole_words_and_phrases_count(tmp_path: Path, prompt: str) -> None:
    assert refused(rules(tmp_path), prompt) is None


def test_a_refusal_does_not_tell_the_rule(tmp_path: Path) -> None:
    with pytest.raises(ContentRefused) as caught:
        rules(tmp_path).check_texts({"prompt": "two dragons, forbidden"}, "m", "t")
    assert caught.value.message == "the rules of this service refuse the prompt"


def test_model_and_tenant_add_to_the_default(tmp_path: Path) -> None:
    found = rules(tmp_path)
    assert refused(found, "an extra lake") is None
    assert refused(found, "an extra lake", model="small") == "prompt"
    assert refused(found, "forbidden", model="small") == "prompt"
    assert refused(found, "a sword") is None
    assert refused(found, "a sword", tenant="kids") == "prompt"


def test_a_negative_prompt_is_judged_where_the_section_says(tmp_path: Path) -> None:
    found = rules(tmp_path)
    assert refused(found, "a lake", negative="forbidden") == "negative_prompt"
    assert refused(found, "a lake", tenant="kids", negative="sword") is None


@given(text=st.text(max_size=2000))
def test_no_text_is_too_strange_to_judge(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    found = rules(tmp_path_factory.getbasetemp())
    assert refused(found, text) in (None, "prompt")
    assert refused(found, f"{text} forbidden {text}") == "prompt"


def test_a_pattern_that_stalls_others_takes_no_time(tmp_path: Path) -> None:
    found = rules(tmp_path)
    began = time.perf_counter()
    assert refused(found, "a" * 1999 + "!") is None
    assert time.perf_counter() - began < 1.0, "a backtracking engine takes longer than the universe has been there"


@pytest.mark.parametrize(
    ("model", "tenant", "default", "expected"),
    [
        ("m", "t", True, True),
        ("m", "t", False, False),
        ("small", "t", True, False),
        ("small", "kids", True, True),
        ("m", "kids", False, True),
    ],
)
def test_the_tenants_word_on_checks_comes_before_the_models(
    tmp_path: Path, model: str, tenant: str, default: bool, expected: bool
) -> None:
    assert rules(tmp_path, check_images=default).has_checks(model, tenant, has_checker=True) is expected


def test_a_check_that_is_demanded_and_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    found = rules(tmp_path)
    assert not found.has_checks("m", "t", has_checker=False)
    with pytest.raises(InvalidConfig, match="no safety checker"):
        found.has_checks("m", "kids", has_checker=False)


def test_without_a_file_nothing_is_refused() -> None:
    assert refused(read_rules(SafetySettings()), "forbidden dragons") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nwords = 'x'", "default.words"),
        ("[default]\nwrods = []", "default.wrods"),
        ("[default]\ncheck_images = true", "default.check_images"),
        ("[defaults]", "defaults"),
        ("[default]\npatterns = ['(']", "default.patterns: '(' is no pattern"),
        ("[default]\npatterns = ['(a)\\1']", "no pattern of RE2"),
        ("[models.x]\npatterns = ['(?<=a)b']", "models.x.patterns"),
        ("[default]\nwords = ['!!']", "'!!' has no word in it"),
        ("[default]\nfields = ['image']", "default.fields.0"),
        ("[default", "not valid TOML"),
    ],
)
def test_a_fault_in_the_file_stops_the_start_and_says_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        rules(tmp_path, text)
    assert said in caught.value.message
    assert "rules.toml" in caught.value.message


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_rules(SafetySettings(rules=tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_rules(SafetySettings(rules=tmp_path / "binary.toml"))
