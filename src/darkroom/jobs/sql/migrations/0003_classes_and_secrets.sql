-- Only the class of a priority counts between tenants; what was asked for orders a tenant's own jobs.
-- And which of its secrets a tenant's webhooks are signed with.

ALTER TABLE job ADD COLUMN level INTEGER GENERATED ALWAYS AS (
    CASE WHEN priority <= -500 THEN -1000 WHEN priority > 500 THEN 1000 ELSE 0 END
) VIRTUAL;

DROP INDEX job_line;
CREATE INDEX job_line
ON job (model, level DESC, rank, ins, queued_at, deadline_at, is_suspect, share, cost_s, state)
WHERE state = 'queued';

DROP INDEX job_queue;
CREATE INDEX job_queue ON job (level DESC, rank, ins, cost_s, state) WHERE state = 'queued';

CREATE INDEX job_tenant_line ON job (tenant, level, priority, ins, rank, share, state) WHERE state = 'queued';

CREATE TABLE webhook_secret (
    tenant TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    rotated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
