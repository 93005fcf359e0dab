"""Who is next: the choice of queued jobs for a claimant, and how many go before one; reads only.

So a choice can be looked at before anything is locked for it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence

from .routing import Others
from .rows import Row, dump
from .sqlite_statements import first, first_of, run
from .store import CLOSE_S, Claimant, Limits


def choose(db: sqlite3.Connection, claimant: Claimant, limit: int, now: float, limits: Limits) -> list[int]:
    """The rows that the claimant gets, in order; `Store.claim` says by which rules."""
    if limit < 1 or first(db, "has_suspect", worker=claimant.worker) is not None:
        return []
    since, until = now - limits.lease_s, now + limits.lease_s
    others = Others(claimant, lambda: run(db, "holds", since=since, until=until))
    heads = sorted(_heads(db, claimant, limit, now, limits, others), key=_order)[:limit]
    return [head["ins"] for head in _keep_apart(heads, claimant.is_idle)]


def positions(db: sqlite3.Connection, job_ids: Sequence[str]) -> Iterator[tuple[str, tuple[int, float]]]:
    """How many go before each that is queued, and their seconds: each is counted on from the one before it."""
    before: Row | None = None
    count, ahead_s = 0, 0.0
    for place in sorted(run(db, "places", ids=dump(list(job_ids))), key=_place):
        at = {"level": place["level"], "rank": place["rank"], "ins": place["ins"]}
        if before is None or before["level"] != place["level"]:
            count, ahead_s = 0, 0.0
            [found] = run(db, "position", **at)
        else:
            [found] = run(db, "between", **at, from_rank=before["rank"], from_ins=before["ins"])
        count, ahead_s, before = count + int(found["ahead"]), ahead_s + float(found["ahead_s"]), place
        yield place["id"], (count, ahead_s)


def _heads(
    db: sqlite3.Connection, claimant: Claimant, limit: int, now: float, limits: Limits, others: Others
) -> Iterator[Row]:
    """The head of each model's line: no other row can be among those chosen."""
    waited = now - limits.patience_s
    for model in dict.fromkeys(claimant.models):
        at = {"model": model, "now": now, "hold_s": limits.hold_s, "close": now + CLOSE_S}
        if model in claimant.loaded:
            at |= {"tier": 0, "after": -math.inf, "until": math.inf, "is_left": False, "most": -1}
            yield from first_of(db, "line", limit, others.may_have, **at)
        else:
            at |= {"is_left": others.have(model), "most": limit}
            yield from run(db, "line", **at, tier=0, after=-math.inf, until=waited)
            yield from run(db, "line", **at, tier=1, after=waited, until=math.inf)


def _place(row: Row) -> tuple[int, float, int]:
    return -row["level"], row["rank"], row["ins"]


def _order(head: Row) -> tuple[int, int, float, int]:
    return -head["level"], head["tier"], head["rank"], head["ins"]


def _keep_apart(heads: Sequence[Row], is_idle: bool) -> Sequence[Row]:
    """A suspect goes alone, and what comes after it waits behind it."""
    place = next((place for place, head in enumerate(heads) if head["is_suspect"]), None)
    if place == 0:
        return heads[:1] if is_idle else []
    return heads[:place]
