-- The job database as it is when every migration has run; a test proves the two equal.
-- Times are seconds since the epoch. Money is US dollars. JSON columns hold what core.py says.

-- One row a job, from acceptance until it is deleted or pruned. `ins` is the order of acceptance.
-- `share` is cost_s / weight. `had_company`: a job that its worker ran beside it has been rescued since the claim.
-- `key_id` is the key it came with, '' for none; `webhook_events` are joined by commas. `level` is the class's step in the
-- priority, which is all of it that counts between tenants. `adapters`: marks of those that it needs (routing.py), joined
-- by commas.
CREATE TABLE job (
    ins INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('scheduled', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL,
    input TEXT NOT NULL,
    output TEXT NOT NULL,
    metadata TEXT NOT NULL,
    warnings TEXT NOT NULL,
    priority INTEGER NOT NULL,
    rank REAL NOT NULL,
    share REAL NOT NULL,
    cost_s REAL NOT NULL,
    steps INTEGER NOT NULL,
    step INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    fence INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    is_suspect INTEGER NOT NULL DEFAULT 0,
    is_cancelling INTEGER NOT NULL DEFAULT 0,
    had_company INTEGER NOT NULL DEFAULT 0,
    lease_until REAL,
    deadline_at REAL,
    run_at REAL,
    webhook TEXT,
    idempotency_key TEXT,
    request_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    scheduled_at REAL,
    queued_at REAL,
    started_at REAL,
    ended_at REAL,
    metrics TEXT NOT NULL DEFAULT '{}',
    errors TEXT NOT NULL DEFAULT '[]',
    key_id TEXT NOT NULL DEFAULT '',
    cost_usd REAL NOT NULL DEFAULT 0.0,
    traceparent TEXT NOT NULL DEFAULT '',
    webhook_events TEXT NOT NULL DEFAULT 'succeeded,failed,cancelled',
    level INTEGER GENERATED ALWAYS AS (
        CASE WHEN priority <= -500 THEN -1000 WHEN priority > 500 THEN 1000 ELSE 0 END
    ) VIRTUAL,
    adapters TEXT NOT NULL DEFAULT '',
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK (state != 'running' OR worker IS NOT NULL),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL))
) STRICT;

-- Claims: the head of a model's queue, and all that a claim asks before it takes a row. `state` is in it, and in the
-- next, because SQLite otherwise goes to the row for it.
CREATE INDEX job_line
ON job (model, level DESC, rank, ins, queued_at, deadline_at, is_suspect, share, cost_s, adapters, state)
WHERE state = 'queued';

-- Positions: the whole queue in order.
CREATE INDEX job_queue ON job (level DESC, rank, ins, cost_s, state) WHERE state = 'queued';

-- A tenant's own line in each class.
CREATE INDEX job_tenant_line ON job (tenant, level, priority, ins, rank, share, state) WHERE state = 'queued';

CREATE INDEX job_due ON job (run_at) WHERE state = 'scheduled';
CREATE INDEX job_held ON job (worker, is_cancelling, is_suspect) WHERE state = 'running';
CREATE INDEX job_lease ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_deadline ON job (deadline_at) WHERE state IN ('scheduled', 'queued') AND deadline_at IS NOT NULL;
CREATE INDEX job_ended ON job (ended_at) WHERE ended_at IS NOT NULL;

-- Lists, newest first; `ins`, the rowid, breaks ties.
CREATE INDEX job_created ON job (created_at);
CREATE INDEX job_tenant ON job (tenant, created_at);
CREATE INDEX job_tenant_state ON job (tenant, state, created_at);
CREATE INDEX job_state ON job (state, created_at);
CREATE INDEX job_model ON job (model, created_at);

-- Live jobs of a key, to be counted.
CREATE INDEX job_key ON job (key_id) WHERE key_id != '' AND state IN ('scheduled', 'queued', 'running');

-- Stored files: outputs of jobs, and uploads (`job_id` NULL).
CREATE TABLE artifact (
    ins INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at REAL NOT NULL,
    job_id TEXT,
    width INTEGER,
    height INTEGER,
    seed INTEGER,
    frames INTEGER,
    fps REAL
) STRICT;

CREATE INDEX artifact_job ON artifact (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX artifact_upload ON artifact (created_at) WHERE job_id IS NULL;

-- What a client's idempotency key made, and when.
CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    job_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_created ON idempotency (created_at);

-- Fair queueing: the rank of each tenant's latest job.
CREATE TABLE tenant (
    name TEXT PRIMARY KEY,
    finish REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- What workers last said of themselves. `holds`: JSON, the marks of adapters in memory by model in memory (routing.py).
CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    heard_at REAL NOT NULL,
    report TEXT NOT NULL,
    is_asked_to_drain INTEGER NOT NULL DEFAULT 0,
    holds TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

CREATE INDEX worker_heard ON worker (heard_at);

-- One row for the whole store. `virtual_time`: the rank of the latest claim. `work` rises whenever a job may have
-- become claimable or a cancel was asked: what `wait_for_work` watches. `stored_bytes`: of all artifacts.
-- `watched_until`: when nobody looks any more at what workers do.
CREATE TABLE pulse (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    virtual_time REAL NOT NULL,
    work INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    watched_until REAL NOT NULL DEFAULT 0.0
) STRICT;

INSERT INTO pulse (one, virtual_time, work) VALUES (1, 0.0, 0);

CREATE TRIGGER artifact_comes AFTER INSERT ON artifact BEGIN
    UPDATE pulse SET stored_bytes = stored_bytes + new.size;
END;

CREATE TRIGGER artifact_goes AFTER DELETE ON artifact BEGIN
    UPDATE pulse SET stored_bytes = stored_bytes - old.size;
END;

-- What each tenant's uploads take, a small one as much as a block of a disk.
CREATE TABLE uploaded (
    tenant TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER upload_comes AFTER INSERT ON artifact WHEN new.job_id IS NULL BEGIN
    INSERT INTO uploaded (tenant, bytes) VALUES (new.tenant, max(new.size, 4096))
    ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER upload_goes AFTER DELETE ON artifact WHEN old.job_id IS NULL BEGIN
    UPDATE uploaded SET bytes = bytes - max(old.size, 4096) WHERE tenant = old.tenant;
    DELETE FROM uploaded WHERE tenant = old.tenant AND bytes <= 0;
END;

-- Events of transitions on their way to the event database: written with the transition, delivered right after it,
-- removed by a later transition. `id` is the order in which transitions happened.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

-- API keys, of whose secrets only hashes are kept. `roles` and `allowance` are JSON.
CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    created_at REAL NOT NULL,
    priority_class TEXT NOT NULL,
    weight REAL NOT NULL,
    allowance TEXT NOT NULL,
    expires_at REAL,
    revoked_at REAL
) STRICT, WITHOUT ROWID;

-- What a key has used on a day of UTC (days since the epoch): predictions of live jobs, and what ended ones took.
-- In billionths of a device second and of a dollar: whole numbers, so that what is taken back leaves nothing behind.
CREATE TABLE usage (
    key_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    device INTEGER NOT NULL,
    usd INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_day ON usage (day);

-- A key's rate: when its next job would be on time (GCRA), and how far its limit puts jobs apart.
CREATE TABLE rate (
    key_id TEXT PRIMARY KEY,
    arrival_at REAL NOT NULL,
    interval_s REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Webhook calls that are owed or were made: one for an event of a job. `attempts` is a JSON list.
CREATE TABLE delivery (
    ins INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    url TEXT NOT NULL,
    event TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'given_up')),
    due_at REAL NOT NULL,
    created_at REAL NOT NULL,
    attempts TEXT NOT NULL DEFAULT '[]',
    tenant TEXT NOT NULL,
    UNIQUE (job_id, event)
) STRICT;

CREATE INDEX delivery_due ON delivery (due_at) WHERE state = 'pending';

-- Which of its secrets a tenant's webhooks are signed with, and since when; without a row the first, number 0. The
-- secrets themselves are nowhere: they follow from the server's own.
CREATE TABLE webhook_secret (
    tenant TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    rotated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Where the time of a worker's process went on a day of UTC (days since the epoch): JSON, as it told it last.
CREATE TABLE worker_time (
    day INTEGER NOT NULL,
    worker TEXT NOT NULL,
    began_at REAL NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (day, worker, began_at)
) STRICT, WITHOUT ROWID;

-- What jobs took of a worker on a day, with attempts that did not end them; device seconds and dollars in billionths.
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

-- One row: who scales the fleet, until when, and what it last noted (JSON).
CREATE TABLE fleet (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    leader TEXT NOT NULL DEFAULT '',
    leads_until REAL NOT NULL DEFAULT 0.0,
    note TEXT NOT NULL DEFAULT '{}'
) STRICT;

INSERT INTO fleet (one) VALUES (1);
