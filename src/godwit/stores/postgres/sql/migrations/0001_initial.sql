-- The first schema.

CREATE SEQUENCE session_keys;

CREATE TABLE sessions (
  key bigint PRIMARY KEY,                   -- of session_keys; less than 2^31
  id text COLLATE "C" NOT NULL UNIQUE,
  head integer NOT NULL,                    -- seq of the last event
  gate bytea NOT NULL,                      -- core.state.Gate after it, as msgpack
  status text NOT NULL,                     -- Gate.status: queued idle running waiting retrying paused archived
  created_ms bigint NOT NULL,
  updated_ms bigint NOT NULL,               -- at_ms of the last event
  activity bigint NOT NULL,                 -- updated_ms / 65536; indexed instead, so that an append rarely touches an index
  agent text NOT NULL,
  agent_version integer NOT NULL,
  workspace text,
  name text,
  labels text NOT NULL,                     -- core.events.Labels as JSON
  tenant text,                              -- labels.tenant
  queued integer NOT NULL,                  -- inputs that wait
  actions integer NOT NULL,                 -- pending actions without an answer
  first_prompt text NOT NULL,               -- first 200 characters of the first text a user sent
  epoch integer NOT NULL DEFAULT 0,         -- grows with each claim
  owner text,                               -- who holds the lease; may have died
  lease_until timestamptz NOT NULL DEFAULT '-infinity', -- by this server's clock
  parent bigint,                            -- key of the session it works for
  -- What it has spent together with all that worked for it, as core.meter counts, up to the last event.
  tokens bigint NOT NULL DEFAULT 0,
  nano_usd bigint NOT NULL DEFAULT 0,
  turns bigint NOT NULL DEFAULT 0,
  tool_calls bigint NOT NULL DEFAULT 0,
  time_ms bigint NOT NULL DEFAULT 0,
  since_ms bigint,                          -- since when its own clock runs, if it does
  uncounted bigint NOT NULL DEFAULT 0,      -- bytes of its log that log_bytes does not have yet
  tasks integer NOT NULL DEFAULT 0,         -- how many of its tasks have not ended
  forked integer NOT NULL DEFAULT 0,        -- up to this seq the log is as its parts say
  origin text,                              -- id of the session it was forked from, which may be gone
  searched integer NOT NULL DEFAULT 0,      -- up to this seq the log is in texts
  stale integer NOT NULL DEFAULT 1          -- 1: texts lacks something of the log, or of the name
) WITH (fillfactor = 60);                   -- a row that changes with each append stays in its page

CREATE INDEX sessions_by_activity ON sessions (activity);
CREATE INDEX sessions_by_creation ON sessions (coalesce(tenant, ''), created_ms, id);
CREATE INDEX sessions_by_parent ON sessions (parent) WHERE parent IS NOT NULL;
CREATE INDEX sessions_by_status ON sessions (status, coalesce(tenant, ''));
CREATE INDEX sessions_stale ON sessions (key) WHERE stale = 1;
CREATE INDEX sessions_with_tasks ON sessions (key) WHERE tasks > 0;

CREATE TABLE events (
  session bigint NOT NULL,                  -- sessions.key
  seq integer NOT NULL,                     -- 1, 2, 3 ...
  at_ms bigint NOT NULL,
  run text,
  type text NOT NULL,
  body bytea NOT NULL,                      -- the JSON object as it was appended, to the byte
  PRIMARY KEY (session, seq)
);

CREATE TABLE fork_parts (                   -- what logs begin with that other logs hold
  session bigint NOT NULL,
  last integer NOT NULL,                    -- from the end of the part before up to this seq ...
  log bigint NOT NULL,                      -- ... the events are in the log of this key
  PRIMARY KEY (session, last)
);

CREATE INDEX fork_parts_by_log ON fork_parts (log, last);

CREATE TABLE idempotency_keys (
  session bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  first integer NOT NULL,
  last integer NOT NULL,
  digest bytea NOT NULL,                    -- of the types and bodies first appended under this key
  PRIMARY KEY (session, key)
);

CREATE TABLE snapshots (
  session bigint PRIMARY KEY,
  seq integer NOT NULL,
  version integer NOT NULL,                 -- core.state.SNAPSHOT_VERSION when it was packed
  state bytea NOT NULL
);

CREATE TABLE agents (
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL,                 -- 1, 2, 3 ... per name
  spec text NOT NULL,                       -- core.agent.AgentSpec as JSON
  PRIMARY KEY (name, version)
);

CREATE TABLE artifacts (
  ref text COLLATE "C" PRIMARY KEY,         -- sha256:<hex>
  size bigint NOT NULL,
  media_type text NOT NULL,                 -- as first stored
  content bytea NOT NULL
);

ALTER TABLE artifacts ALTER COLUMN content SET STORAGE EXTERNAL; -- most are packed already

CREATE SEQUENCE artifact_places;

CREATE TABLE artifact_uses (
  session bigint NOT NULL,
  ref text COLLATE "C" NOT NULL,
  place bigint NOT NULL,                    -- grows with each put: the lowest is the oldest
  stored_ms bigint NOT NULL,                -- when it was last put
  pinned integer NOT NULL DEFAULT 0,
  released_ms bigint,                       -- when it was let go of because of limits; its content may be gone
  PRIMARY KEY (session, ref)
);

CREATE INDEX artifact_uses_by_ref ON artifact_uses (ref);
CREATE INDEX artifact_uses_by_place ON artifact_uses (place) WHERE released_ms IS NULL;

CREATE TABLE saved_rules (
  tenant text COLLATE "C" NOT NULL,         -- '' for none
  workspace text COLLATE "C" NOT NULL,      -- the folder they hold in, '' for sessions without one
  rule text COLLATE "C" NOT NULL,
  verdict text NOT NULL,                    -- allow, ask or deny
  saved_ms bigint NOT NULL,
  PRIMARY KEY (tenant, workspace, rule)
);

CREATE TABLE documents (
  key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,         -- '' for none
  kind text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  revision integer NOT NULL,                -- 1, 2, 3 ... with each put
  created_ms bigint NOT NULL,
  updated_ms bigint NOT NULL,
  archived_ms bigint,
  expires_ms bigint,                        -- from when on it is as good as deleted
  body bytea NOT NULL,                      -- a JSON object
  session text COLLATE "C",                 -- whose it is: it goes when that is deleted
  UNIQUE (tenant, kind, id)
);

CREATE INDEX documents_by_creation ON documents (tenant, kind, created_ms, id);
CREATE INDEX documents_by_expiry ON documents (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX documents_by_session ON documents (session) WHERE session IS NOT NULL;

CREATE TABLE document_keys (
  kind text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  value text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,         -- the document's
  document bigint NOT NULL,                 -- documents.key
  "only" integer NOT NULL,                  -- 1: no other document of this kind and tenant may have it
  PRIMARY KEY (kind, name, value, tenant, document)
);

CREATE INDEX document_keys_by_document ON document_keys (document);
CREATE UNIQUE INDEX document_keys_only ON document_keys (tenant, kind, name, value) WHERE "only" = 1;

CREATE TABLE document_contents (
  document bigint PRIMARY KEY,              -- documents.key
  content bytea NOT NULL
);

CREATE TABLE feed (
  position bigint PRIMARY KEY,              -- in the order of commits; never given twice
  type text NOT NULL,
  subject text NOT NULL,                    -- id of the session or the document
  tenant text,
  seq integer NOT NULL,                     -- the event's, or the document's revision
  at_ms bigint NOT NULL,
  body bytea NOT NULL                       -- as core.feed says
);

-- One row. Who feeds keeps it locked until the commit, so that the order of positions is that of commits.
CREATE TABLE feed_head (position bigint NOT NULL);
INSERT INTO feed_head VALUES (0);

CREATE TABLE feed_types (                   -- what is fed
  type text PRIMARY KEY
);

CREATE TABLE log_bytes (
  tenant text COLLATE "C" PRIMARY KEY,      -- '' for none
  bytes bigint NOT NULL                     -- of the bodies of all events of its sessions, but sessions.uncounted
);

CREATE TABLE loads (                        -- logs that are being loaded: their events are there, their sessions are not
  key bigint PRIMARY KEY,                   -- the session's, once it is there
  owner text NOT NULL                       -- who loads it; what one that died has left is removed
);

CREATE TABLE texts (                        -- what was said, by its words
  session bigint NOT NULL,
  seq integer NOT NULL,                     -- 0: the session's name
  words tsvector NOT NULL,                  -- made of core.search_text's words, so no configuration of the server counts
  PRIMARY KEY (session, seq)
);

CREATE INDEX texts_by_word ON texts USING gin (words);

CREATE TABLE memory_places (
  key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,         -- '' for none
  scope text COLLATE "C" NOT NULL,          -- user, project or tenant
  owner text COLLATE "C" NOT NULL,          -- the user or the folder, '' for who has no name
  UNIQUE (tenant, scope, owner)
);

CREATE TABLE memories (
  key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  place bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  kind text NOT NULL,                       -- episodic, semantic, procedural or working
  content text NOT NULL,
  importance double precision NOT NULL,
  tags text NOT NULL,                       -- a JSON array
  metadata text NOT NULL,                   -- a JSON object
  session text,
  created_ms bigint NOT NULL,
  updated_ms bigint NOT NULL,
  accessed_ms bigint,
  accesses integer NOT NULL DEFAULT 0,
  UNIQUE (place, id)
);

CREATE INDEX memories_recent ON memories (place, updated_ms);

CREATE TABLE memory_words (
  memory bigint PRIMARY KEY,                -- memories.key
  place text NOT NULL,                      -- 'p' and the place's key
  words tsvector NOT NULL
);

CREATE INDEX memory_words_by_place ON memory_words (place);
CREATE INDEX memory_words_by_word ON memory_words USING gin (words);

CREATE TABLE memory_vectors (
  memory bigint PRIMARY KEY,
  embedder text NOT NULL,
  vector bytea NOT NULL                     -- of length 1, 32-bit floats, little-endian
);

-- The last commit of each writer, written with it: by this one that lost its connection in a commit sees what became of it.
-- The number of a transaction would not do: after a crash the server gives those again that it had given to nothing stored.
CREATE TABLE commits (
  token text NOT NULL,                      -- of the process
  slot integer NOT NULL,                    -- 0: the writer of appends; others: what is done beside it
  number bigint NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (token, slot)
) WITH (fillfactor = 20);

CREATE TABLE processes (                    -- those that drive sessions; one that closes takes its row away
  token text PRIMARY KEY,
  seen timestamptz NOT NULL                 -- its last sign of life, by this server's clock
);

-- The advisory lock that a process holds on the connection of its signs of life.
CREATE FUNCTION process_lock(token text) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT hashtextextended(current_schema() || ' process ' || token, 0) $$;

-- Whether the process has surely ended: it said so, or its connection is gone and no sign of life came for 5 s in which this
-- server was there. One that is stopped, or cut off without the connection being closed, is not seen to have ended.
CREATE FUNCTION process_gone(token text) RETURNS boolean LANGUAGE sql STABLE AS
$$
  SELECT NOT EXISTS (
    SELECT 1 FROM processes p WHERE p.token = process_gone.token
    AND (greatest(p.seen, pg_postmaster_start_time()) > clock_timestamp() - interval '5 seconds'
         OR EXISTS (SELECT 1 FROM pg_locks l
                    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND (l.classid::bigint << 32) | l.objid::bigint = process_lock(p.token))))
$$;

-- The same of an owner's name. A name of another making is nobody's of whom that could be seen.
CREATE FUNCTION owner_gone(owner text) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT owner ~ '^[^/]*-\d+-[0-9a-f]{12}$' AND process_gone(right(owner, 12)) $$;
