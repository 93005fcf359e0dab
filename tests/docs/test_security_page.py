"""The threat model names a test for each threat; each of those tests is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guides/security.md").read_text(encoding="utf-8")
ROWS = [row.split(" | ") for row in re.findall(r"^\| (?!threat)(.+) \|$", PAGE, re.MULTILINE) if "---" not in row]


def test_each_threat_has_a_test() -> None:
    assert len(ROWS) > 25
    for threat, guard, tests in ROWS:
        assert guard
        assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", tests), threat


def test_each_test_is_there() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    there = set(re.findall(r"^def (test_\w+)\(", "\n".join(sources), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named - there == set()
