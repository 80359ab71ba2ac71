-- How much is kept, and what is at work, without a look at each session.

ALTER TABLE sessions ADD COLUMN uncounted INTEGER NOT NULL DEFAULT 0;

CREATE TABLE log_bytes (
  tenant TEXT PRIMARY KEY,                  -- '' for none
  bytes INTEGER NOT NULL                    -- of the bodies of all events of its sessions, but sessions.uncounted
) WITHOUT ROWID;

INSERT INTO log_bytes (tenant, bytes)
SELECT coalesce(s.tenant, ''), sum(length(e.body)) FROM sessions s JOIN events e
  ON e.position >= s.key << 32 AND e.position < (s.key + 1) << 32
GROUP BY coalesce(s.tenant, '');

CREATE INDEX sessions_by_status ON sessions (status, tenant);
