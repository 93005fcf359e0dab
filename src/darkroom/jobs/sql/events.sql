-- The event database, beside the job database. It may be lost: it is made anew, empty, and no job with it.
-- There are no migrations: a file of another version is made anew too.

-- What happened, in the order of `seq`, which rises over the whole store.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE INDEX event_job ON event (job_id);
CREATE INDEX event_preview ON event (job_id) WHERE type = 'preview';
CREATE INDEX event_fleeting ON event (at) WHERE type IN ('progress', 'preview');

-- The latest step of the claim that reported it.
CREATE TABLE progress (
    job_id TEXT PRIMARY KEY,
    fence INTEGER NOT NULL,
    step INTEGER NOT NULL,
    steps INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: the `id` of the last event taken over from the job database's outbox, and who keeps the store.
CREATE TABLE tide (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    delivered INTEGER NOT NULL,
    keeper TEXT,
    keeps_until REAL
) STRICT;

INSERT INTO tide (one, delivered, keeper, keeps_until) VALUES (1, 0, NULL, NULL);
