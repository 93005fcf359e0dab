-- What is asked of the event database. Parameters are named as in Python; times are seconds since the epoch.

-- name: reached
-- The number of the latest event, also of one that has been forgotten since.
SELECT seq FROM sqlite_sequence WHERE name = 'event';

-- name: delivered
-- How far the outbox has been taken over.
SELECT delivered FROM tide;

-- name: set_delivered
-- The outbox has been taken over to here.
UPDATE tide SET delivered = :id;

-- name: add_event
-- Append an event.
INSERT INTO event (job_id, at, type, data) VALUES (:job_id, :at, :type, :data);

-- name: forget_preview
-- Of a job's previews only the latest is kept.
DELETE FROM event WHERE job_id = :job_id AND type = 'preview';

-- name: set_progress
-- The latest step of a claim.
INSERT INTO progress (job_id, fence, step, steps) VALUES (:job_id, :fence, :step, :steps)
ON CONFLICT (job_id) DO UPDATE SET fence = excluded.fence, step = excluded.step, steps = excluded.steps;

-- name: progress
-- The latest steps of these jobs (JSON list of ids).
SELECT job_id, fence, step, steps FROM progress WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: events_of
-- A job's events after a number.
SELECT seq, job_id, at, type, data FROM event WHERE job_id = :job_id AND seq > :after ORDER BY seq LIMIT :limit;

-- name: events_after
-- Every job's events after a number.
SELECT seq, job_id, at, type, data FROM event WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: forget_events
-- Forget the events of these jobs (JSON list of ids).
DELETE FROM event WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: forget_progress
-- Forget the steps of these jobs (JSON list of ids).
DELETE FROM progress WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: thin
-- Forget progress and previews from before a time, some at once.
DELETE FROM event WHERE seq IN (
    SELECT seq FROM event WHERE type IN ('progress', 'preview') AND at < :before ORDER BY at LIMIT :limit
);

-- name: lead
-- Reign where nobody does, where the reign is over, or where it is one's own; `margin_s` shows a clock that went back.
UPDATE tide SET keeper = :who, keeps_until = :now + :ttl_s
WHERE keeper IS NULL OR keeper = :who OR keeps_until <= :now OR keeps_until > :now + :margin_s
RETURNING 1;
