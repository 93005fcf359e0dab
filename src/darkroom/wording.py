"""What others find wrong, in our words: pydantic's problems as plain sentences, and the name that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

SHOULD = re.compile(r"\b(?:Input|Value|String|Number|List|Tuple|Dictionary|Data|URL) should (?=be |have |match )")
ALIKE = 0.7  # of 1: fewer characters in common are another name
WORD_ALIKE = 0.8  # the same of one word of a name
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
    """In brackets, the known name that is nearest to one that is not known, or the only one that has its words
    (`steps`: `num_inference_steps`); nothing where there is none."""
    names = list(known)
    near = get_close_matches(name[:MOST], names, n=1, cutoff=ALIKE) or _with_its_words(name[:MOST].lower(), names)
    return f" (did you mean {near[0]}?)" if len(near) == 1 else ""


def _with_its_words(name: str, known: Iterable[str]) -> list[str]:
    words = name.replace("_", " ").split()

    def has_all(other: str) -> bool:
        return all(get_close_matches(word, other.split("_"), n=1, cutoff=WORD_ALIKE) for word in words)

    return [each for each in known if words and has_all(each)]


def counted(number: int, noun: str) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
