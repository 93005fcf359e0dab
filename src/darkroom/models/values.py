"""Plain values of a request's inputs, each within its bounds or refused by name. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BadInput


def text(given: Mapping[str, Any], name: str, most: int, least: int = 1) -> str:
    """Valid Unicode text of `least` to `most` characters."""
    value = given[name]
    if not isinstance(value, str):
        raise BadInput(f"{name} must be text, not {type(value).__name__}", field=name)
    if not least <= len(value) <= most:
        raise BadInput(f"{name} must have {least} to {most} characters, not {len(value)}", field=name)
    if not _is_unicode(value):
        raise BadInput(f"{name} must be valid Unicode text", field=name)
    return value


def _is_unicode(text: str) -> bool:
    """Half a surrogate pair gets into a str, and into no tokenizer."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def whole(given: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number from `low` to `high`; `default` where none is given."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadInput(f"{name} must be a whole number from {low} to {high}, not {shown(value)}", field=name)
    return value


def number(given: Mapping[str, Any], name: str, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadInput(f"{name} must be a finite number from {low:g} to {high:g}, not {shown(value)}", field=name)
    return float(value)


def shown(value: Any) -> str:
    """What was given, short enough for one line; Python refuses to print very long numbers at all."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:77]}..."
