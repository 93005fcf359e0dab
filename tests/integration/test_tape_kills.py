"""What a `kill -9` costs with `tape_every = 1`, by the steps that the engine took, not by those the store heard of."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.tape_kills import killed


@pytest.mark.slow
def test_what_was_stored_is_never_lost_and_little_else_is(tmp_path: Path) -> None:
    steps, found = 24, killed(tmp_path, kills=2, steps=24)
    print(f"steps lost in {len(found)} kills: {[kill.lost for kill in found]}")
    assert len(found) == 2
    for kill in found:
        assert 0 < kill.stored <= kill.resumed <= kill.reached  # whatever moment it was killed at
        assert kill.lost <= steps // 4  # what passes while two tapes are written; a step takes longer than that here
    assert found[0].reached < found[1].resumed  # the second worker has stored tapes of its own
