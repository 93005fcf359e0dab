"""Who is next: the choice of queued jobs for a claimant; reads only, so that it can look before it locks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from .rows import Row
from .sqlite_statements import first, run
from .store import PATIENCE_S, Claimant


def choose(db: sqlite3.Connection, claimant: Claimant, limit: int, now: float) -> list[int]:
    """The rows that the claimant gets, in order; `Store.claim` says by which rules."""
    if limit < 1 or first(db, "has_suspect", worker=claimant.worker) is not None:
        return []
    heads = sorted(_heads(db, claimant, limit, now), key=_order)[:limit]
    return [head["ins"] for head in _keep_apart(heads, claimant.is_idle)]


def _heads(db: sqlite3.Connection, claimant: Claimant, limit: int, now: float) -> Iterator[Row]:
    """The head of each model's line: no other row can be among those chosen."""
    for model in dict.fromkeys(claimant.models):
        if model in claimant.loaded:
            yield from run(db, "line_of_loaded", model=model, now=now, limit=limit)
        else:
            waited = now - PATIENCE_S
            yield from run(db, "line_of_patient", model=model, now=now, limit=limit, waited=waited)
            yield from run(db, "line_of_fresh", model=model, now=now, limit=limit, waited=waited)


def _order(head: Row) -> tuple[int, int, float, int]:
    return -head["priority"], head["tier"], head["rank"], head["ins"]


def _keep_apart(heads: Sequence[Row], is_idle: bool) -> Sequence[Row]:
    """A suspect goes alone, and what comes after it waits behind it."""
    place = next((place for place, head in enumerate(heads) if head["is_suspect"]), None)
    if place == 0:
        return heads[:1] if is_idle else []
    return heads[:place]
