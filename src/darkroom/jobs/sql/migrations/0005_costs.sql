-- Where the time of workers went, and what jobs took of it, by days of UTC (days since the epoch).

CREATE TABLE worker_time (
    day INTEGER NOT NULL,
    worker TEXT NOT NULL,
    began_at REAL NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (day, worker, began_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE charge (
    day INTEGER NOT NULL,
    worker TEXT NOT NULL,
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    images INTEGER NOT NULL,
    device INTEGER NOT NULL,
    usd INTEGER NOT NULL,
    PRIMARY KEY (day, worker, tenant, model)
) STRICT, WITHOUT ROWID;
