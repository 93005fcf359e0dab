-- What is asked of the job database about keys, usage, webhooks and room; as in verbs.sql.

-- name: add_key
-- A new key; no row where the id is taken.
INSERT INTO api_key (
    id, tenant, name, roles, secret_hash, created_at, priority_class, weight, allowance, expires_at, revoked_at
) VALUES (
    :id, :tenant, :name, :roles, :secret_hash, :created_at, :priority_class, :weight, :allowance, :expires_at, :revoked_at
)
ON CONFLICT (id) DO NOTHING
RETURNING 1;

-- name: keys
-- Every key.
SELECT * FROM api_key ORDER BY created_at, id;

-- name: revoke_key
-- The first time stays.
UPDATE api_key SET revoked_at = coalesce(revoked_at, :now) WHERE id = :id RETURNING *;

-- name: live_jobs
-- How many jobs of a key are scheduled, queued or running.
SELECT count(*) AS jobs FROM job INDEXED BY job_key
WHERE key_id = :key_id AND key_id != '' AND state IN ('scheduled', 'queued', 'running');

-- name: used
-- What a key has used on a day.
SELECT device, usd FROM usage WHERE key_id = :key_id AND day = :day;

-- name: reserve
-- A new job's prediction.
INSERT INTO usage (key_id, day, device, usd) VALUES (:key_id, :day, :device, :usd)
ON CONFLICT (key_id, day) DO UPDATE SET device = device + excluded.device, usd = usd + excluded.usd;

-- name: settle
-- The prediction of a job that ends is replaced by what it took, unless the day is forgotten.
UPDATE usage SET device = max(0, device + :device), usd = max(0, usd + :usd) WHERE key_id = :key_id AND day = :day;

-- name: forget_old_usage
-- Days before one.
DELETE FROM usage WHERE day < :day;

-- name: worker_times
-- Where workers' time went since a day.
SELECT worker, said FROM worker_time WHERE day >= :since ORDER BY day, worker, began_at;

-- name: charges
-- What jobs took since a day.
SELECT * FROM charge WHERE day >= :since ORDER BY day, worker, tenant, model;

-- name: forget_old_times
-- Days before one.
DELETE FROM worker_time WHERE day < :day;

-- name: forget_old_charges
-- Days before one.
DELETE FROM charge WHERE day < :day;

-- name: rate
-- When a key's next job would be on time.
SELECT arrival_at, interval_s FROM rate WHERE key_id = :key_id;

-- name: set_rate
-- A job has come.
INSERT INTO rate (key_id, arrival_at, interval_s) VALUES (:key_id, :arrival_at, :interval_s)
ON CONFLICT (key_id) DO UPDATE SET arrival_at = excluded.arrival_at, interval_s = excluded.interval_s;

-- name: owe
-- A webhook call for an event of a job, once.
INSERT INTO delivery (id, job_id, url, event, due_at, created_at, tenant)
VALUES (:id, :job_id, :url, :event, :now, :now, :tenant)
ON CONFLICT DO NOTHING;

-- name: due_deliveries
-- Webhook calls whose time has come.
SELECT id FROM delivery WHERE state = 'pending' AND due_at <= :now ORDER BY due_at, ins LIMIT :limit;

-- name: hold_delivery
-- Give it to nobody else for a while.
UPDATE delivery SET due_at = :until WHERE id = :id RETURNING *;

-- name: note_delivery
-- An attempt was made; what has been delivered stays so.
UPDATE delivery
SET attempts = json_insert(
        iif(json_array_length(attempts) < :most, attempts, json_remove(attempts, '$[0]')), '$[#]', json(:attempt)
    ),
    state = CASE WHEN :is_delivered OR state = 'delivered' THEN 'delivered'
                 WHEN :next_at IS NULL THEN 'given_up' ELSE 'pending' END,
    due_at = coalesce(:next_at, due_at)
WHERE id = :id
RETURNING *;

-- name: deliveries
-- A job's webhook calls.
SELECT * FROM delivery WHERE job_id = :job_id ORDER BY ins;

-- name: forget_deliveries_of
-- Forget a job's webhook calls.
DELETE FROM delivery WHERE job_id = :job_id;

-- name: webhook_secret
-- Which of its secrets a tenant uses.
SELECT number, rotated_at FROM webhook_secret WHERE tenant = :tenant;

-- name: rotate_webhook_secret
-- The next one.
INSERT INTO webhook_secret (tenant, number, rotated_at) VALUES (:tenant, :number, :now)
ON CONFLICT (tenant) DO UPDATE SET number = excluded.number, rotated_at = excluded.rotated_at;

-- name: stored_bytes
-- The sizes of all artifacts together.
SELECT stored_bytes FROM pulse;

-- name: uploaded_bytes
-- What a tenant's uploads take.
SELECT bytes FROM uploaded WHERE tenant = :tenant;

-- name: uploaded_bytes_of_all
-- The same of all tenants whose names begin so.
SELECT coalesce(sum(bytes), 0) AS bytes FROM uploaded WHERE tenant >= :tenant AND tenant < :tenant || char(0x10FFFF);

-- name: watch
-- Until when somebody looks at what workers do.
UPDATE pulse SET watched_until = :until;

-- name: watched_until
-- The same, read.
SELECT watched_until FROM pulse;

-- name: ended_with_artifacts
-- Final jobs that hold bytes, those that ended first. The time is there for the index: it is always after 0.
SELECT * FROM job INDEXED BY job_ended
WHERE ended_at > 0 AND EXISTS (SELECT 1 FROM artifact WHERE artifact.job_id = job.id)
ORDER BY ended_at LIMIT :limit;

-- name: lines
-- The queue by model and class.
SELECT model, level, count(*) AS jobs, sum(cost_s) AS cost_s, min(queued_at) AS oldest_at
FROM job INDEXED BY job_line WHERE state = 'queued' GROUP BY model, level;

-- name: line_deadlines
-- The earliest deadlines of queued jobs.
SELECT model, level, deadline_at, cost_s FROM job INDEXED BY job_deadline
WHERE state IN ('scheduled', 'queued') AND deadline_at IS NOT NULL AND state = 'queued'
ORDER BY deadline_at LIMIT :limit;

-- name: lead_fleet
-- Scale the fleet where nobody does, where the reign is over, or where it is one's own; see `lead`.
UPDATE fleet SET leader = :who, leads_until = :now + :ttl_s
WHERE leader = :who OR leads_until <= :now OR leads_until > :now + :margin_s
RETURNING 1;

-- name: note_fleet
-- What whoever scales the fleet tells others.
UPDATE fleet SET note = :note;

-- name: fleet_note
-- The same, read.
SELECT note FROM fleet;
