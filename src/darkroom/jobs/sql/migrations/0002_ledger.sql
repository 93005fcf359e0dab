-- Keys, what each has used, webhooks that are to be told, and how many bytes artifacts take.

ALTER TABLE job ADD COLUMN key_id TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN cost_usd REAL NOT NULL DEFAULT 0.0;
ALTER TABLE job ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN webhook_events TEXT NOT NULL DEFAULT 'succeeded,failed,cancelled';

CREATE INDEX job_key ON job (key_id) WHERE key_id != '' AND state IN ('scheduled', 'queued', 'running');

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

CREATE TABLE usage (
    key_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    device INTEGER NOT NULL,
    usd INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_day ON usage (day);

CREATE TABLE rate (
    key_id TEXT PRIMARY KEY,
    arrival_at REAL NOT NULL,
    interval_s REAL NOT NULL
) STRICT, WITHOUT ROWID;

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

ALTER TABLE pulse ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE pulse SET stored_bytes = (SELECT coalesce(sum(size), 0) FROM artifact);

CREATE TRIGGER artifact_comes AFTER INSERT ON artifact BEGIN
    UPDATE pulse SET stored_bytes = stored_bytes + new.size;
END;

CREATE TRIGGER artifact_goes AFTER DELETE ON artifact BEGIN
    UPDATE pulse SET stored_bytes = stored_bytes - old.size;
END;

CREATE TABLE uploaded (
    tenant TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO uploaded (tenant, bytes)
SELECT tenant, sum(max(size, 4096)) FROM artifact WHERE job_id IS NULL GROUP BY tenant;

CREATE TRIGGER upload_comes AFTER INSERT ON artifact WHEN new.job_id IS NULL BEGIN
    INSERT INTO uploaded (tenant, bytes) VALUES (new.tenant, max(new.size, 4096))
    ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER upload_goes AFTER DELETE ON artifact WHEN old.job_id IS NULL BEGIN
    UPDATE uploaded SET bytes = bytes - max(old.size, 4096) WHERE tenant = old.tenant;
    DELETE FROM uploaded WHERE tenant = old.tenant AND bytes <= 0;
END;
