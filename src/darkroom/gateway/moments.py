"""Times at the edge: RFC 3339 in UTC outwards, that or seconds since the epoch inwards; inside only the latter."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from ..errors import BadInput

LATEST_S = 253402300799.0  # the end of the year 9999, past which RFC 3339 has no words


def rfc3339(at_s: float | None) -> str | None:
    """`2030-01-31T12:00:00.000Z`; None stays None."""
    if at_s is None:
        return None
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(said: float | str, field: str) -> float:
    """Seconds since the epoch from either form; a time without its offset could be anybody's, and is refused."""
    if isinstance(said, str):
        said = _epoch_of(said) if not _is_number(said) else float(said)
    if not math.isfinite(said) or not 0 <= said <= LATEST_S:
        raise _refused(field)
    return float(said)


def _epoch_of(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _is_number(text: str) -> bool:
    return len(text) <= 32 and text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit()


def _refused(field: str) -> BadInput:
    allowed = "a time with its offset as RFC 3339 has it, such as 2030-01-31T12:00:00Z, or seconds since the epoch"
    return BadInput(f"{field} must be {allowed}", field=field)
