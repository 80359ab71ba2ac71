-- How old each use of an artifact is, whether it is pinned, and when it was let go of.

ALTER TABLE artifact_uses ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
ALTER TABLE artifact_uses ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE artifact_uses ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE artifact_uses ADD COLUMN released_ms INTEGER;

CREATE INDEX artifact_uses_by_place ON artifact_uses (place);
CREATE INDEX artifact_uses_held ON artifact_uses (session, place) WHERE released_ms IS NULL;
CREATE INDEX artifacts_by_size ON artifacts (size);

-- Of older ones only the order is known, and the time their session last did something.
UPDATE artifact_uses SET
  place = coalesce((SELECT rowid FROM artifacts WHERE artifacts.ref = artifact_uses.ref), 0),
  stored_ms = coalesce((SELECT updated_ms FROM sessions WHERE sessions.key = artifact_uses.session), 0);
