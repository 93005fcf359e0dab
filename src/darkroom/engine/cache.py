"""Outputs of text encoders by what they were computed from, least recently used leaving first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from . import rows
from .call import Call


class EncoderCache:
    """Bounded in bytes; hands out copies, because at least one pipeline writes on its embeddings in place."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self.hits = 0
        self._outputs: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, call: Call) -> Any | None:
        """A copy of the output for an equal call, or None."""
        key = _key(call)
        if key is None or key not in self._outputs:
            return None
        self._outputs.move_to_end(key)
        self.hits += 1
        return rows.copy_of(self._outputs[key])

    def put(self, call: Call, output: Any) -> None:
        """Keep a copy of the output; the oldest leave when the bytes run out."""
        key, size = _key(call), rows.bytes_of(output)
        if key is None or key in self._outputs or size > self.capacity_bytes:
            return
        try:
            self._outputs[key] = rows.copy_of(output)
        except rows.Unsplittable:  # no copy, nothing to hand out
            return
        self.held_bytes += size
        while self.held_bytes > self.capacity_bytes:
            _, dropped = self._outputs.popitem(last=False)
            self.held_bytes -= rows.bytes_of(dropped)

    def clear(self) -> None:
        """Forget everything."""
        self._outputs.clear()
        self.held_bytes = 0


def _key(call: Call) -> Hashable | None:
    if call.digest is None:
        return None
    mix = tuple((part.digest, weight) for part, weight in call.mix)  # the parts themselves may leave memory
    return (call.key.hook, call.digest, call.state, call.key.fixed_rows, mix)
