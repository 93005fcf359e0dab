-- What a worker has in memory, and which adapters a job needs: for a moment it is left to a worker that has them.

ALTER TABLE job ADD COLUMN adapters TEXT NOT NULL DEFAULT '';
ALTER TABLE worker ADD COLUMN holds TEXT NOT NULL DEFAULT '{}';
CREATE INDEX worker_heard ON worker (heard_at);

DROP INDEX job_line;
CREATE INDEX job_line
ON job (model, level DESC, rank, ins, queued_at, deadline_at, is_suspect, share, cost_s, adapters, state)
WHERE state = 'queued';
