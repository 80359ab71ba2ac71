-- Full text over what people and agents said, made up to date when somebody searches.

CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2'); -- rowid: events.position; seq 0: a name

ALTER TABLE sessions ADD COLUMN searched INTEGER NOT NULL DEFAULT 0; -- up to this seq the log is in texts
ALTER TABLE sessions ADD COLUMN stale INTEGER NOT NULL DEFAULT 1;    -- 1: texts lacks something of the log, or of the name

CREATE INDEX sessions_stale ON sessions (key) WHERE stale = 1;
