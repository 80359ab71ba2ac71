-- What sessions spend, summed up over those that work for them.

ALTER TABLE sessions ADD COLUMN parent INTEGER;
ALTER TABLE sessions ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN nano_usd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN tool_calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN time_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN since_ms INTEGER;

CREATE INDEX sessions_by_parent ON sessions (parent) WHERE parent IS NOT NULL;

-- What older logs tell; their time is left out.
UPDATE sessions SET (tokens, nano_usd, turns) = (
  SELECT coalesce(sum(coalesce(json_extract(usage, '$.input_tokens'), 0) + coalesce(json_extract(usage, '$.output_tokens'), 0)), 0),
         coalesce(sum(CAST(round(coalesce(json_extract(usage, '$.cost_usd'), 0) * 1000000000) AS INTEGER)), 0),
         count(*)
  FROM (SELECT json_extract(CAST(body AS TEXT), '$.message.usage') AS usage FROM events
        WHERE position > sessions.key << 32 AND position < (sessions.key + 1) << 32 AND type = 'agent.message')
);
UPDATE sessions SET tool_calls = (
  SELECT count(*) FROM events
  WHERE position > sessions.key << 32 AND position < (sessions.key + 1) << 32 AND type = 'tool.started'
);
