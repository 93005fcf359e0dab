-- What is asked of the job database. Parameters are named as in Python; times are seconds since the epoch.
-- A partial index serves only a statement that repeats its condition literally: states are written out, not bound.
-- INDEXED BY where the planner, which keeps no statistics here, would take a wider index.

-- name: known_key
-- The job that an idempotency key made, while the key counts.
SELECT job_id, digest FROM idempotency WHERE tenant = :tenant AND key = :key AND created_at > :after;

-- name: remember_key
-- An idempotency key and what it made; an outdated entry is replaced.
INSERT INTO idempotency (tenant, key, job_id, digest, created_at) VALUES (:tenant, :key, :job_id, :digest, :now)
ON CONFLICT (tenant, key) DO UPDATE
SET job_id = excluded.job_id, digest = excluded.digest, created_at = excluded.created_at;

-- name: forget_key
-- A job that goes takes its key along, unless the key has made another job since.
DELETE FROM idempotency WHERE tenant = :tenant AND key = :key AND job_id = :job_id;

-- name: forget_old_keys
-- Keys that count no longer, some at once.
DELETE FROM idempotency WHERE (tenant, key) IN (
    SELECT tenant, key FROM idempotency WHERE created_at <= :before ORDER BY created_at LIMIT :limit
);

-- name: count_queued
-- How many wait for a worker.
SELECT count(*) FROM job WHERE state = 'queued';

-- name: count_scheduled_of
-- How many of a tenant's wait for their time.
SELECT count(*) FROM job INDEXED BY job_tenant_state WHERE tenant = :tenant AND state = 'scheduled';

-- name: next_scheduled_of
-- The time of the first of these.
SELECT min(run_at) FROM job INDEXED BY job_tenant_state WHERE tenant = :tenant AND state = 'scheduled';

-- name: virtual_time
-- Where the queue has come to, kept between the start and the rank of the job at the head of the line that is joined.
SELECT coalesce(
    (
        SELECT max(rank - share, min(rank, (SELECT virtual_time FROM pulse)))
        FROM job
        WHERE state = 'queued' AND model = :model AND level = :level
        ORDER BY rank, ins
        LIMIT 1
    ),
    (SELECT virtual_time FROM pulse)
);

-- name: finish
-- The rank of a tenant's last job.
SELECT coalesce((SELECT finish FROM tenant WHERE name = :tenant), 0.0);

-- name: behind
-- A tenant's own jobs of a class that a priority goes before.
SELECT ins, rank, share FROM job INDEXED BY job_tenant_line
WHERE state = 'queued' AND tenant = :tenant AND level = :level AND priority < :priority;

-- name: last_ahead
-- The rank of the last of a tenant's own jobs of a class that a priority does not go before.
SELECT coalesce(max(rank), 0.0) FROM job INDEXED BY job_tenant_line
WHERE state = 'queued' AND tenant = :tenant AND level = :level AND priority >= :priority;

-- name: beside
-- The other jobs of a tenant in a class.
SELECT ins, priority, rank, share FROM job INDEXED BY job_tenant_line
WHERE state = 'queued' AND tenant = :tenant AND level = :level AND ins != :ins;

-- name: set_rank
-- Another place in the line.
UPDATE job SET rank = :rank WHERE ins = :ins;

-- name: set_finish
-- The rank of a tenant's last job.
INSERT INTO tenant (name, finish) VALUES (:tenant, :finish)
ON CONFLICT (name) DO UPDATE SET finish = max(finish, excluded.finish);

-- name: add_job
-- A new job.
INSERT INTO job (
    id, state, tenant, model, task, input, output, metadata, warnings, priority, rank, share, cost_s, steps, max_attempts,
    deadline_at, run_at, webhook, webhook_events, idempotency_key, request_id, key_id, cost_usd, traceparent, adapters,
    created_at, scheduled_at, queued_at
) VALUES (
    :id, :state, :tenant, :model, :task, :input, :output, :metadata, :warnings, :priority, :rank, :share, :cost_s, :steps,
    :max_attempts, :deadline_at, :run_at, :webhook, :webhook_events, :idempotency_key, :request_id, :key_id, :cost_usd,
    :traceparent, :adapters, :now, :scheduled_at, :queued_at
);

-- name: due
-- Scheduled jobs whose time has come.
SELECT * FROM job INDEXED BY job_due WHERE state = 'scheduled' AND run_at <= :now ORDER BY run_at, ins LIMIT :limit;

-- name: stage
-- scheduled -> queued.
UPDATE job SET state = 'queued', queued_at = :now, rank = :rank WHERE ins = :ins;

-- name: work
-- What rises when there may be work.
SELECT work FROM pulse;

-- name: raise_work
-- There may be work.
UPDATE pulse SET work = work + 1;

-- name: line
-- A model's line: of those queued after one time and until another, where the young are left to others without them.
SELECT ins, level, :tier AS tier, rank, is_suspect, model, adapters,
    level <= 0 AND abs(queued_at - :now) < :hold_s AND (deadline_at IS NULL OR deadline_at > :close) AS is_young
FROM job INDEXED BY job_line
WHERE state = 'queued' AND model = :model AND (deadline_at IS NULL OR deadline_at > :now)
    AND queued_at > :after AND queued_at <= :until AND NOT (:is_left AND is_young)
ORDER BY level DESC, rank, ins LIMIT :most;

-- name: holds
-- What live workers that nobody wants to drain have in memory.
SELECT id, holds FROM worker WHERE heard_at > :since AND heard_at < :until AND NOT is_asked_to_drain;

-- name: has_suspect
-- Whether the worker runs a suspect.
SELECT 1 FROM job INDEXED BY job_held WHERE state = 'running' AND worker = :worker AND is_suspect LIMIT 1;

-- name: start
-- queued -> running.
UPDATE job
SET state = 'running', fence = fence + 1, attempt = attempt + 1, worker = :worker, lease_until = :lease_until,
    started_at = :now, had_company = 0
WHERE ins = :ins
RETURNING *;

-- name: set_virtual_time
-- The rank of the latest claim.
UPDATE pulse SET virtual_time = :rank;

-- name: hear
-- What a worker says of itself; one that has stopped owes no drain.
INSERT INTO worker (id, heard_at, report, holds) VALUES (:id, :now, :report, :holds)
ON CONFLICT (id) DO UPDATE SET heard_at = excluded.heard_at, report = excluded.report, holds = excluded.holds,
    is_asked_to_drain = is_asked_to_drain AND json_extract(excluded.report, '$.state') <> 'stopped';

-- name: extend
-- Extend a lease that is held, by a worker that lives after all; no row where it is lost.
UPDATE job SET lease_until = :until, had_company = 0 WHERE id = :id AND fence = :fence AND state = 'running' RETURNING 1;

-- name: set_warnings
-- What is to be said of a request.
UPDATE job SET warnings = :warnings WHERE ins = :ins RETURNING *;

-- name: marked
-- A worker's running jobs that somebody wants cancelled.
SELECT id FROM job WHERE state = 'running' AND worker = :worker AND is_cancelling = 1;

-- name: held
-- A running job by its lease; no row where the lease is lost.
SELECT * FROM job WHERE id = :id AND fence = :fence AND state = 'running';

-- name: fences
-- Under which claims those of these jobs (JSON list of ids) run that do.
SELECT id, fence FROM job WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'running';

-- name: end
-- To a final state; what is not given stays.
UPDATE job
SET state = :state, ended_at = :now, lease_until = NULL, is_cancelling = 0, metrics = coalesce(:metrics, metrics),
    errors = :errors, step = coalesce(:step, step), steps = coalesce(:steps, steps)
WHERE ins = :ins
RETURNING *;

-- name: note_time
-- Where a process's time went on a day.
INSERT INTO worker_time (day, worker, began_at, said) VALUES (:day, :worker, :began_at, :said)
ON CONFLICT (day, worker, began_at) DO UPDATE SET said = excluded.said;

-- name: charge
-- What an attempt took.
INSERT INTO charge (day, worker, tenant, model, jobs, images, device, usd)
VALUES (:day, :worker, :tenant, :model, :jobs, :images, :device, :usd)
ON CONFLICT (day, worker, tenant, model) DO UPDATE
SET jobs = jobs + excluded.jobs, images = images + excluded.images, device = device + excluded.device,
    usd = usd + excluded.usd;

-- name: requeue
-- running -> queued at its old rank; metrics that are not given stay.
UPDATE job
SET state = 'queued', queued_at = :now, worker = NULL, lease_until = NULL, attempt = :attempt,
    is_suspect = :is_suspect, errors = :errors, metrics = coalesce(:metrics, metrics)
WHERE ins = :ins;

-- name: retry
-- running -> scheduled.
UPDATE job
SET state = 'scheduled', scheduled_at = :now, run_at = :run_at, worker = NULL, lease_until = NULL,
    metrics = coalesce(:metrics, metrics), errors = :errors
WHERE ins = :ins
RETURNING *;

-- name: is_known
-- Whether there is a job of that id.
SELECT 1 FROM job WHERE id = :id;

-- name: get
-- A job by its id.
SELECT * FROM job WHERE id = :id;

-- name: list_jobs
-- A page, newest first; the filters in use are written in, so that an index serves each combination.
SELECT * FROM job
WHERE created_at >= :since AND (created_at, ins) < (:cursor_at, :cursor_ins) /* filters */
ORDER BY created_at DESC, ins DESC LIMIT :limit;

-- name: ended
-- Jobs that ended since a time, those that ended last first.
SELECT * FROM job INDEXED BY job_ended WHERE ended_at >= :since
ORDER BY ended_at DESC, ins DESC LIMIT :limit OFFSET :passed;

-- name: mark
-- Somebody wants a running job cancelled.
UPDATE job SET is_cancelling = 1 WHERE ins = :ins RETURNING *;

-- name: set_priority
-- Change the priority of a job that waits.
UPDATE job SET priority = :priority WHERE id = :id AND state IN ('scheduled', 'queued');

-- name: forget_job
-- Forget a job.
DELETE FROM job WHERE ins = :ins;

-- name: places
-- Where those of these jobs (JSON list of ids) that are queued stand.
SELECT id, level, rank, ins FROM job WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'queued';

-- name: position
-- How many queued jobs go before this place, and their predicted device seconds.
SELECT count(*) AS ahead, coalesce(sum(cost_s), 0.0) AS ahead_s FROM (
    SELECT cost_s FROM job INDEXED BY job_queue WHERE state = 'queued' AND level > :level
    UNION ALL
    SELECT cost_s FROM job WHERE state = 'queued' AND level = :level AND (rank, ins) < (:rank, :ins)
);

-- name: between
-- The same from one place of a level to another.
SELECT count(*) AS ahead, coalesce(sum(cost_s), 0.0) AS ahead_s FROM job
WHERE state = 'queued' AND level = :level AND (rank, ins) >= (:from_rank, :from_ins) AND (rank, ins) < (:rank, :ins);

-- name: add_artifact
-- An upload, or what a job made.
INSERT INTO artifact (id, tenant, key, content_type, size, created_at, job_id, width, height, seed, frames, fps)
VALUES (
    :id, :tenant, :key, :content_type, :size, :created_at, :job_id, :width, :height, :seed, :frames, :fps
);

-- name: artifact
-- An artifact by its id.
SELECT * FROM artifact WHERE id = :id;

-- name: artifacts_of
-- What these jobs made (JSON list of ids), in the order they said.
SELECT * FROM artifact WHERE job_id IN (SELECT value FROM json_each(:ids)) ORDER BY ins;

-- name: forget_artifact
-- Forget an artifact.
DELETE FROM artifact WHERE id = :id RETURNING *;

-- name: forget_artifacts_of
-- Forget what a job made.
DELETE FROM artifact WHERE job_id = :job_id;

-- name: note
-- An event on its way.
INSERT INTO outbox (job_id, at, type, data) VALUES (:job_id, :at, :type, :data);

-- name: outbox
-- Events on their way, in the order of transitions.
SELECT id, job_id, at, type, data FROM outbox WHERE id > :after ORDER BY id;

-- name: empty_outbox
-- Events that have arrived.
DELETE FROM outbox WHERE id <= :id;

-- name: lapsed
-- Running jobs whose lease ran out.
SELECT * FROM job INDEXED BY job_lease WHERE state = 'running' AND lease_until <= :now ORDER BY lease_until LIMIT :limit;

-- name: jobs_of_worker
-- What a worker runs.
SELECT * FROM job INDEXED BY job_held WHERE state = 'running' AND worker = :worker ORDER BY ins;

-- name: remember_company
-- What a worker still runs was in flight with jobs that have just been taken from it.
UPDATE job INDEXED BY job_held SET had_company = 1 WHERE state = 'running' AND worker = :worker;

-- name: clamp_leases
-- Leases given by a clock that has since gone back.
UPDATE job INDEXED BY job_lease SET lease_until = :until WHERE state = 'running' AND lease_until > :far;

-- name: expired
-- Waiting jobs whose deadline has passed.
SELECT * FROM job INDEXED BY job_deadline
WHERE state IN ('scheduled', 'queued') AND deadline_at IS NOT NULL AND deadline_at <= :now
ORDER BY deadline_at LIMIT :limit;

-- name: old_jobs
-- Final jobs that ended before a time.
SELECT * FROM job WHERE ended_at IS NOT NULL AND ended_at < :before ORDER BY ended_at LIMIT :limit;

-- name: old_uploads
-- Uploads that came before a time and that no live job names anywhere in its input.
SELECT id FROM artifact
WHERE job_id IS NULL AND created_at < :before AND id NOT IN (
    SELECT named.atom FROM job, json_tree(job.input) AS named
    WHERE job.state IN ('scheduled', 'queued', 'running') AND named.type = 'text'
)
ORDER BY created_at LIMIT :limit;

-- name: queue_by_model
-- The queue in figures.
SELECT model, count(*) AS jobs, sum(cost_s) AS ahead_s, min(queued_at) AS oldest_at
FROM job INDEXED BY job_line WHERE state = 'queued' GROUP BY model;

-- name: count_running
-- How many run.
SELECT count(*) FROM job WHERE state = 'running';

-- name: count_scheduled
-- How many wait for their time.
SELECT count(*) FROM job WHERE state = 'scheduled';

-- name: workers
-- Workers heard of since a time.
SELECT report FROM worker WHERE heard_at >= :since ORDER BY id;

-- name: is_forwarder
-- Whether a worker says that its jobs run elsewhere.
SELECT 1 FROM worker WHERE id = :worker AND json_extract(report, '$.facts.kind') = 'forwarder';

-- name: forget_worker
-- Forget a worker's report; its goodbye stays.
DELETE FROM worker WHERE id = :worker AND json_extract(report, '$.state') <> 'stopped';

-- name: forget_old_workers
-- Workers not heard of since a time.
DELETE FROM worker WHERE heard_at < :before;

-- name: ask_drain
-- Ask a worker to drain, unless it has stopped.
UPDATE worker SET is_asked_to_drain = 1 WHERE id = :worker AND json_extract(report, '$.state') <> 'stopped' RETURNING 1;

-- name: is_asked_to_drain
-- Whether a worker was asked to drain.
SELECT is_asked_to_drain FROM worker WHERE id = :worker;
