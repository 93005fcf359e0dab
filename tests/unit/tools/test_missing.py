"""A test that finds not what it needs skips with its reason, and fails where CI runs; and it does so by one helper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.missing import need, need_file

TESTS = Path(__file__).parents[2]
OWN = re.compile(r"""environ(?:\.get\(|\[)["']CI["']|reason="[^"]*(?:not in this checkout|not installed)""")


@pytest.mark.parametrize(("said", "outcome"), [("true", pytest.fail), ("", pytest.skip)])
def test_what_is_missing_fails_in_ci_alone(said: str, outcome: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", said)
    with pytest.raises(outcome.Exception, match="no-such-program is not installed"):
        need("no-such-program")
    with pytest.raises(outcome.Exception, match="a model is not in this checkout"):
        need_file(Path("/nowhere"), "a model")
    assert Path(need("sh")).exists()


def test_no_test_asks_for_ci_by_itself() -> None:
    asking = [path.name for path in TESTS.rglob("*.py") if OWN.search(path.read_text(encoding="utf-8"))]
    assert sorted(asking) == ["missing.py"]
