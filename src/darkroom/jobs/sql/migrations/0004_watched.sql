-- Until when somebody looks at what workers do: only then they tell of each batch.

ALTER TABLE pulse ADD COLUMN watched_until REAL NOT NULL DEFAULT 0.0;
