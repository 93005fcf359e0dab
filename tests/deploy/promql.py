"""Which series an expression of PromQL asks for, read with a few patterns: enough for the expressions of deploy/."""

from __future__ import annotations

import re

WORDS = {"and", "or", "unless", "on", "ignoring", "by", "without", "group_left", "group_right", "bool", "offset"}
NOT_NAMES = (
    r'"[^"]*"|\'[^\']*\'',
    r"\{[^}]*\}",
    r"\[[^\]]*\]",
    r"\b(?:by|without|on|ignoring)\s*\([^)]*\)",
)


def metrics_in(expression: str) -> set[str]:
    """The names of metrics; labels, functions and numbers are none."""
    bare = expression
    for pattern in NOT_NAMES:
        bare = re.sub(pattern, " ", bare)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(?!\s*\(|[\w:])", bare)
    return {name for name in found if name not in WORDS}
