-- Of a video: how many frames, and how many of them a second.

ALTER TABLE artifact ADD COLUMN frames INTEGER;
ALTER TABLE artifact ADD COLUMN fps REAL;
