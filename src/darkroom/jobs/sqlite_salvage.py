"""Saves what can be read of a damaged job database: python -m darkroom.jobs.sqlite_salvage DAMAGED NEW

Only reads the damaged file, and makes the new one. SQLite's own `.recover` would do more, but many systems ship a
`sqlite3` without it, and a box may have none at all.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ..errors import DarkroomError, StoreUnavailable
from .sqlite_files import open_jobs

NUMBERED = ("job", "artifact")  # rows have numbers: each can be asked for by itself, past those that are lost
SCANNED = ("idempotency", "tenant", "worker", "outbox", "api_key", "usage", "rate", "delivery", "webhook_secret")
WAYS = ("SELECT ins FROM {0} ORDER BY ins DESC LIMIT 1", "SELECT max(ins) FROM {0} WHERE id > ''")  # one may be broken
GAP = 10_000  # numbers without a row after which there is no more, where no way to the highest is left


def salvage(damaged: Path, new: Path) -> dict[str, int]:
    """Copy every row that can be read into a new database; how many of each table.

    Raises `StoreUnavailable` where `new` is there already, or `damaged` is not.
    """
    if not damaged.is_file():
        raise StoreUnavailable(f"{damaged} is not there")
    if new.exists():
        raise StoreUnavailable(f"{new} is there already: nothing is written over")
    uri = f"{damaged.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as old, closing(open_jobs(new)) as database, database.writing() as db:
        old.row_factory = sqlite3.Row
        saved = {table: _copy(db, table, _by_number(old, table)) for table in NUMBERED}
        saved |= {table: _copy(db, table, _as_far_as_it_goes(old, table)) for table in SCANNED}
        for row in _as_far_as_it_goes(old, "pulse"):
            db.execute("UPDATE pulse SET virtual_time = ?, work = ?", (row["virtual_time"], row["work"]))
    return saved


def _by_number(old: sqlite3.Connection, table: str) -> Iterator[sqlite3.Row]:
    highest = _highest(old, table)
    number = misses = 0
    while number < highest if highest is not None else misses < GAP:
        number, misses = number + 1, misses + 1
        with suppress(sqlite3.DatabaseError):
            for row in old.execute(f"SELECT * FROM {table} WHERE ins = ?", (number,)).fetchall():
                misses = 0
                yield row


def _highest(old: sqlite3.Connection, table: str) -> int | None:
    for way in WAYS:
        with suppress(sqlite3.DatabaseError):
            found = old.execute(way.format(table)).fetchone()
            return 0 if found is None or found[0] is None else int(found[0])
    return None


def _as_far_as_it_goes(old: sqlite3.Connection, table: str) -> Iterator[sqlite3.Row]:
    with suppress(sqlite3.DatabaseError):
        yield from old.execute(f"SELECT * FROM {table}")


def _copy(db: sqlite3.Connection, table: str, rows: Iterator[sqlite3.Row]) -> int:
    count, columns = 0, {column["name"] for column in db.execute(f"PRAGMA table_info({table})")}  # not generated ones
    for row in rows:
        values = {name: row[name] for name in row.keys() if name in columns}  # noqa: SIM118  # a row is no mapping
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        with suppress(sqlite3.IntegrityError):  # a row that contradicts itself is a lost one
            count += db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())).rowcount
    return count


def main() -> int:
    """What the command line says: two paths."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m darkroom.jobs.sqlite_salvage DAMAGED NEW\n")
        return 2
    try:
        saved = salvage(Path(sys.argv[1]), Path(sys.argv[2]))
    except DarkroomError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    sys.stdout.write(f"saved: {', '.join(f'{count} of {table}' for table, count in saved.items())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
