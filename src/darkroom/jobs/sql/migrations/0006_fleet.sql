-- Who scales the fleet, and what it last noted for others to read.

CREATE TABLE fleet (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    leader TEXT NOT NULL DEFAULT '',
    leads_until REAL NOT NULL DEFAULT 0.0,
    note TEXT NOT NULL DEFAULT '{}'
) STRICT;

INSERT INTO fleet (one) VALUES (1);
