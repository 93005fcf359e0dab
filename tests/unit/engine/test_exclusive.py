"""A tokenizer in service takes one thread at a time, and is left as it was found."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

from darkroom.engine.engine import Engine
from darkroom.engine.exclusive import Exclusive
from tests.parity.tiny_text import clip_tokenizer

PADDED, BARE = 77, 3  # tokens of "a" with begin and end


@pytest.fixture
def own_pipe(pipe: Any) -> Any:
    """Over a tokenizer that nobody else has."""
    return type(pipe)(
        **{**pipe.components, "tokenizer": copy.deepcopy(clip_tokenizer())}, requires_safety_checker=False
    )


def lengths(tokenizer: Any, count: int, **call: Any) -> set[int]:
    return {len(tokenizer("a", **call).input_ids) for _ in range(count)}


def test_threads_that_ask_differently_get_what_they_asked_for(own_pipe: Any) -> None:
    tokenizer = own_pipe.tokenizer
    bare: set[int] = set()
    with Engine(own_pipe):
        other = threading.Thread(target=lambda: bare.update(lengths(tokenizer, 3000, padding=False)))
        other.start()
        padded = lengths(tokenizer, 3000, padding="max_length", max_length=PADDED, truncation=True)
        other.join(60)
    assert (padded, bare) == ({PADDED}, {BARE})


def test_the_last_engine_to_leave_takes_the_guard_off(own_pipe: Any) -> None:
    before = set(own_pipe.tokenizer.__dict__)
    with Engine(own_pipe):
        with Engine(own_pipe):
            pass
        assert isinstance(own_pipe.tokenizer._encode_plus, Exclusive)
    assert set(own_pipe.tokenizer.__dict__) == before


def test_a_call_within_a_call_does_not_wait_for_itself() -> None:
    guard: Exclusive = Exclusive(lambda depth: depth if depth == 0 else guard(depth - 1))
    assert guard(3) == 0
