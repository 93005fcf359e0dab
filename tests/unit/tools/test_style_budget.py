"""Each budget can fail, and a reason beside the place lets it pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import style_budget


def run_on(folder: Path, text: str) -> int:
    (folder / "sample.py").write_text(text)
    return style_budget.main([str(folder)])


def a_function(lines: int, head: str = "def long():") -> str:
    return "\n".join([head, *["    x = 1"] * (lines - 1)]) + "\n"


SHORT = "".join(f"def f{n}():\n    return {n}\n" for n in range(20))


def test_a_small_clean_file_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_on(tmp_path, SHORT) == 0
    assert "median function, lines: 2 (at most 10)" in capsys.readouterr().out


def test_a_high_median_fails(tmp_path: Path) -> None:
    assert run_on(tmp_path, a_function(11)) == 1


def test_a_long_tail_fails(tmp_path: Path) -> None:
    assert run_on(tmp_path, SHORT[: SHORT.index("def f12")] + a_function(36) * 3) == 1


def test_two_very_long_functions_in_a_small_tree_fail(tmp_path: Path) -> None:
    assert run_on(tmp_path, SHORT + a_function(60)) == 0
    assert run_on(tmp_path, SHORT + a_function(60) * 2) == 1


def test_a_long_function_with_a_reason_is_left_out_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    excused = a_function(60, "def long():  # budget: one table, read top to bottom")
    assert run_on(tmp_path, SHORT + excused * 2) == 0
    assert "one table, read top to bottom" in capsys.readouterr().out


def test_a_reason_must_say_something(tmp_path: Path) -> None:
    assert run_on(tmp_path, SHORT + a_function(60, "def long():  # budget:") * 2) == 1


def test_a_long_file_fails_unless_it_says_why_at_its_top(tmp_path: Path) -> None:
    assert run_on(tmp_path, "x = 1\n" * 401) == 1
    assert run_on(tmp_path, "# budget: a table that is one thing\n" + "x = 1\n" * 401) == 0


@pytest.mark.parametrize("clause", ["except:", "except Exception:", "except (ValueError, BaseException) as error:"])
def test_broad_excepts_past_one_in_a_thousand_lines_fail(tmp_path: Path, clause: str) -> None:
    swallow = f"try:\n    x = 1\n{clause}\n    x = 2\n"
    assert run_on(tmp_path, swallow) == 0
    assert run_on(tmp_path, swallow * 2) == 1
    assert run_on(tmp_path, swallow.replace(clause, f"{clause}  # budget: the outermost loop") * 2) == 0


def test_an_except_that_raises_again_swallows_nothing(tmp_path: Path) -> None:
    assert run_on(tmp_path, "try:\n    x = 1\nexcept BaseException:\n    x = 2\n    raise\n" * 3) == 0


def test_a_wide_constructor_fails_unless_it_takes_a_configuration(tmp_path: Path) -> None:
    wide = "class A:\n    def __init__(self, a, b, c, d, e, f, g, {last}):\n        pass\n"
    assert run_on(tmp_path, wide.format(last="h")) == 1
    assert run_on(tmp_path, wide.format(last="h: EngineConfig")) == 0


@pytest.mark.parametrize("name", ["JobManager", "BaseThing", "ImageUtils"])
def test_words_that_say_nothing_are_not_names(tmp_path: Path, name: str) -> None:
    assert run_on(tmp_path, f"class {name}:\n    pass\n") == 1
