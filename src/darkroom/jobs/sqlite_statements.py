"""The SQL, read from sql/: named, described statements, and migrations in their order."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "sql"
VERB_FILES = ("verbs.sql", "ledger_verbs.sql", "event_verbs.sql")
HEADER = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)+)", re.MULTILINE)
MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


def run(db: sqlite3.Connection, name: str, /, **values: Any) -> list[sqlite3.Row]:
    """Every row that the named statement gives; read to its end, so that no cursor holds an old snapshot."""
    return db.execute(statements()[name], values).fetchall()


def first(db: sqlite3.Connection, name: str, /, **values: Any) -> sqlite3.Row | None:
    """The first row that the named statement gives."""
    found = run(db, name, **values)
    return found[0] if found else None


def first_of(
    db: sqlite3.Connection, name: str, limit: int, is_wanted: Callable[[sqlite3.Row], bool], /, **values: Any
) -> list[sqlite3.Row]:
    """The first so many wanted rows that the named statement gives; what comes behind them is not read."""
    with closing(db.execute(statements()[name], values)) as rows:
        return list(islice(filter(is_wanted, rows), limit))


@cache
def statements() -> Mapping[str, str]:
    """Every named statement."""
    return {name: text for file in VERB_FILES for name, text in _named((FOLDER / file).read_text(encoding="utf-8"))}


@cache
def migrations() -> tuple[str, ...]:
    """The migrations; the first takes an empty database to version 1."""
    found = sorted((FOLDER / "migrations").glob("*.sql"))
    numbers = [int(match[1]) for path in found if (match := MIGRATION.fullmatch(path.name))]
    assert numbers == list(range(1, len(found) + 1)), "migrations are numbered 0001, 0002 and so on"
    return tuple(path.read_text(encoding="utf-8") for path in found)


def event_schema() -> str:
    """What makes an empty event database."""
    return (FOLDER / "events.sql").read_text(encoding="utf-8")


def split(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would commit the transaction that it is part of."""
    waiting = ""
    for line in script.splitlines(keepends=True):
        waiting += line
        if sqlite3.complete_statement(waiting):
            yield waiting
            waiting = ""
    assert all(line.startswith("--") or not line.strip() for line in waiting.splitlines()), waiting


def _named(text: str) -> Iterator[tuple[str, str]]:
    parts = HEADER.split(text)
    for name, statement in zip(parts[1::3], parts[3::3], strict=True):
        yield name, statement.strip()
