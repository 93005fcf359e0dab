"""Every error has a sentence for people in the web UI, and the UI knows none that the service does not."""

from __future__ import annotations

import re

from .test_reference_tables import ROOT, kinds

SOURCE = (ROOT / "web/src/lib/api/errors.ts").read_text(encoding="utf-8")
TABLE = re.search(r"export const SENTENCES[^{]*\{(.*?)^\};", SOURCE, re.DOTALL | re.MULTILINE)
OWN = {"offline"}  # nobody answered, so there is no code


def sentences() -> dict[str, str]:
    """By code."""
    assert TABLE is not None
    return dict(re.findall(r'^\s+(\w+):\s+"(.*)",$', TABLE[1], re.MULTILINE))


def test_every_code_has_a_sentence_and_every_sentence_a_code() -> None:
    assert set(sentences()) == {kind.code for kind in kinds()} | OWN


def test_a_sentence_is_one_for_people() -> None:
    for code, sentence in sentences().items():
        assert re.fullmatch(r"[A-Z][^{}<>_]{10,}[.?]", sentence), (code, sentence)
