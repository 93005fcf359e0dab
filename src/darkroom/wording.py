"""What others find wrong, in our words: pydantic's problems as plain sentences, and the name that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

SHOULD = re.compile(r"\b(?:Input|Value|String|Number|List|Tuple|Dictionary|Data|URL) should (?=be |have |match )")
ALIKE = 0.7  # of 1: fewer characters in common are another word
MOST = 64  # characters that are compared: a stranger may have said the name


def problem_said(first: Mapping[str, Any]) -> str:
    """What is allowed, as the rest of a sentence that begins with the field's name or with it and a colon."""
    if first["type"] == "missing":
        return "is needed"
    text = plain(str(first["msg"]))
    return text[:1].lower() + text[1:]


def plain(text: str) -> str:
    """A text with pydantic's phrases in it, without them."""
    return SHOULD.sub("must ", text.replace("Value error, ", ""))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """In brackets, the known name that is nearest to one that is not known; nothing where none is near."""
    near = get_close_matches(name[:MOST], list(known), n=1, cutoff=ALIKE)
    return f" (did you mean {near[0]}?)" if near else ""
