"""A job's place in the fair queue: its tenant's next turn, and which of the tenant's own jobs takes it.

Between tenants class and rank decide, whatever was asked for. Within a class a tenant's own jobs go by priority: one
that goes before others begins where the first of these would have, and they move back by what it costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core import class_step
from .rows import Row
from .sqlite_statements import run


@dataclass(frozen=True)
class Turn:
    """What decides where a job goes; `share` is its predicted seconds by its tenant's weight."""

    tenant: str
    model: str
    priority: int
    share: float

    @property
    def line(self) -> dict[str, Any]:
        """Its tenant's own line."""
        return {"tenant": self.tenant, "level": class_step(self.priority)}


def join(db: sqlite3.Connection, turn: Turn) -> float:
    """The rank of a job that is queued for the first time; those that it goes before have moved."""
    behind = _in_order(run(db, "behind", **turn.line, priority=turn.priority))
    place = max(_virtual_time(db, turn), _earliest(db, turn, behind)) + turn.share
    _move_back(db, turn.tenant, behind, place)
    return place


def move(db: sqlite3.Connection, row: Row, priority: int) -> None:
    """Give a queued job its place among its tenant's own with another priority, the last of its equals."""
    turn = Turn(row["tenant"], row["model"], priority, row["share"])
    others = _in_order(run(db, "beside", **turn.line, ins=row["ins"]))
    behind = [one for one in others if one["priority"] < priority]
    ahead = [one for one in others if one["priority"] >= priority]
    if behind and _place(behind[0]) < _place(row):
        passed = [one["rank"] for one in ahead if _place(one) < _place(row)]
        start = min(max(_virtual_time(db, turn), _start_of(behind[0]), *passed), _start_of(row))
    elif ahead and _place(ahead[-1]) > _place(row):
        start = ahead[-1]["rank"]
    else:
        return
    place = start + turn.share
    run(db, "set_rank", ins=row["ins"], rank=place)
    _move_back(db, turn.tenant, behind, place)


def _earliest(db: sqlite3.Connection, turn: Turn, behind: Sequence[Row]) -> float:
    """When its tenant has a turn for it: that of the first of those behind it, unless one stands there that it may not
    overtake. A job that came back to the queue keeps its rank, and may stand before those of a higher priority."""
    if not behind:
        return float(run(db, "finish", tenant=turn.tenant)[0][0])
    return max(_start_of(behind[0]), float(run(db, "last_ahead", **turn.line, priority=turn.priority)[0][0]))


def _move_back(db: sqlite3.Connection, tenant: str, behind: Sequence[Row], free_at: float) -> None:
    """These begin at `free_at` at the earliest, one after another; the tenant's next job comes after all."""
    for row in behind:
        if _start_of(row) >= free_at:
            break
        free_at += row["share"]
        run(db, "set_rank", ins=row["ins"], rank=free_at)
    run(db, "set_finish", tenant=tenant, finish=free_at)


def _virtual_time(db: sqlite3.Connection, turn: Turn) -> float:
    found = run(db, "virtual_time", model=turn.model, level=class_step(turn.priority))
    return float(found[0][0])


def _in_order(rows: Sequence[Row]) -> Sequence[Row]:
    return sorted(rows, key=_place)


def _place(row: Row) -> tuple[float, int]:
    return row["rank"], row["ins"]


def _start_of(row: Row) -> float:
    return float(row["rank"] - row["share"])
