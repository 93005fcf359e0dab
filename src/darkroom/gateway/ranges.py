"""A part of an object: what a Range header asks for, and how the answer says what it holds."""

from __future__ import annotations

import re

RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


def part_of(said: str | None, size: int) -> range | None:
    """What a Range header (RFC 9110) asks for of so many bytes, empty where there is no such part.

    None: all of it, which is also the answer to several parts at once and to what nobody can read.
    """
    found = RANGE.fullmatch(said or "")
    if found is None or found["first"] == found["last"] == "":
        return None
    if found["first"] == "":
        return range(max(0, size - int(found["last"])), size)
    last = int(found["last"]) if found["last"] else size
    return None if last < int(found["first"]) else range(int(found["first"]), min(last + 1, size))


def headers_of(part: range, size: int) -> dict[str, str]:
    """Of an answer that holds that part, which is not empty, of so many bytes."""
    return {"Content-Length": str(len(part)), "Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}"}
