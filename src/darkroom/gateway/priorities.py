"""Priority classes: a key's class puts its jobs a whole step below or above others, whatever priority they ask for.

in the store = step of the class + what was asked for (-100..100)
"""

from __future__ import annotations

STEPS = {"low": -1000, "normal": 0, "high": 1000}


def effective(priority_class: str, asked: int) -> int:
    """The priority that the store orders by."""
    return STEPS[priority_class] + asked


def class_of(priority: int) -> str:
    """The class of a priority in the store."""
    return min(STEPS, key=lambda name: abs(STEPS[name] - priority))


def asked(priority: int) -> int:
    """What was asked for, of a priority in the store."""
    return priority - STEPS[class_of(priority)]
