"""Server-Sent Events from bytes, cut wherever the network cut them; pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from .nouns import JobEvent

LINE_END = re.compile(rb"\r\n|\n|\r")


class EventReader:
    """Takes bytes, gives whole events; what a broken stream left half-said is never given."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[JobEvent]:
        """The events that are whole with this chunk."""
        text = self._rest + chunk
        # A carriage return at the very end may be the first half of a line's end.
        whole = text[:-1] if text.endswith(b"\r") else text
        *lines, rest = LINE_END.split(whole)
        self._rest = rest + text[len(whole) :]
        for line in lines:
            event = self._take(line.decode("utf-8", "replace"))
            if event is not None:
                yield event

    def _take(self, line: str) -> JobEvent | None:
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None  # a comment, or what the JSON says as well: id and event
        data, self._data = self._data, []
        return JobEvent.read(json.loads("\n".join(data))) if data else None
