-- Logs that begin as another's did.

ALTER TABLE sessions ADD COLUMN forked INTEGER NOT NULL DEFAULT 0; -- up to this seq the log is as its parts say
ALTER TABLE sessions ADD COLUMN origin TEXT;                       -- id of the session it was forked from, which may be gone

CREATE TABLE fork_parts (
  session INTEGER NOT NULL,
  last INTEGER NOT NULL,                    -- from the end of the part before up to this seq ...
  log INTEGER NOT NULL,                     -- ... the events are in the log of this key
  PRIMARY KEY (session, last)
) WITHOUT ROWID;

CREATE INDEX fork_parts_by_log ON fork_parts (log, last);
