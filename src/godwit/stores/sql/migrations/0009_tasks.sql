-- How many tasks of a session have not ended, so that what a crash left of them is found.

ALTER TABLE sessions ADD COLUMN tasks INTEGER NOT NULL DEFAULT 0;

CREATE INDEX sessions_with_tasks ON sessions (key) WHERE tasks > 0;
