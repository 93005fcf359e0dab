"""Partial images are spread over the way, each as soon as it may come."""

from __future__ import annotations

import pytest

from darkroom.gateway.dialects.openai_answers import is_due


def told(previews: list[int], steps: int, wanted: int) -> list[int]:
    """The steps whose previews are told."""
    found: list[int] = []
    for step in previews:
        if is_due(step, steps, len(found), wanted):
            found.append(step)
    return found


@pytest.mark.parametrize(
    ("previews", "steps", "wanted", "expected"),
    [
        ([4, 8, 12, 16, 20, 24, 28], 30, 3, [4, 12, 24]),
        ([4, 8, 12, 16, 20, 24, 28], 30, 2, [4, 16]),
        ([4, 8, 12, 16, 20, 24, 28], 30, 1, [4]),
        ([4, 8, 12, 16, 20, 24, 28], 30, 0, []),
        ([28], 30, 3, [28]),
        ([1, 2, 3], 3, 3, [1, 2, 3]),
        ([4], 4, 3, [4]),
        ([], 3, 3, []),
    ],
)
def test_each_part_of_the_way_has_one(previews: list[int], steps: int, wanted: int, expected: list[int]) -> None:
    assert told(previews, steps, wanted) == expected
