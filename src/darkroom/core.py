"""The nouns everyone speaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """What happened to a request, in the order of `seq`, at `at` seconds since the epoch.

    Types: queued, started, progress {step, steps, progress}, preview {step, image}, succeeded, failed {error},
    cancelled. The last three end the stream.
    """

    seq: int
    at: float
    type: str
    data: dict[str, Any] = field(default_factory=dict)


FINAL_EVENTS = frozenset({"succeeded", "failed", "cancelled"})
