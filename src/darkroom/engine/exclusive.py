"""Lets one thread at a time into a tokenizer that is in service.

Transformers' fast tokenizers keep the padding and truncation of a call on themselves while it runs. Two threads at once
(two engines, or an engine and whoever counts tokens) get each other's, silently.
"""

from __future__ import annotations

import threading
from typing import Any

METHOD = "_encode_plus"  # what every way of calling a tokenizer comes down to


class Exclusive:
    """Shadows the method on one tokenizer; shared by every engine and pipeline that serves it."""

    def __init__(self, original: Any) -> None:
        self.users = 0
        self._original, self._lock = original, threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return self._original(*args, **kwargs)


def is_tokenizer(value: Any) -> bool:
    """One of transformers', or one that works alike."""
    return callable(value) and hasattr(value, METHOD)


def attach(tokenizer: Any) -> None:
    """Guard it, or join those who do."""
    guard = tokenizer.__dict__.get(METHOD)
    if not isinstance(guard, Exclusive):
        guard = tokenizer.__dict__[METHOD] = Exclusive(getattr(tokenizer, METHOD))
    guard.users += 1


def detach(tokenizer: Any) -> None:
    """Leave; the last one to leave takes the guard off."""
    guard = tokenizer.__dict__[METHOD]
    guard.users -= 1
    if guard.users == 0:
        del tokenizer.__dict__[METHOD]
