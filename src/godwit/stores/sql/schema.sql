-- The whole schema as it is now: the sum of the migrations (a test compares). Change both.

CREATE TABLE sessions (
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  head INTEGER NOT NULL,                    -- seq of the last event
  gate BLOB NOT NULL,                       -- core.state.Gate after it, as msgpack
  status TEXT NOT NULL,                     -- Gate.status: queued idle running waiting retrying paused archived
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,              -- at_ms of the last event
  activity INTEGER NOT NULL,                -- updated_ms / 65536; indexed instead, so that an append rarely touches the index
  agent TEXT NOT NULL,
  agent_version INTEGER NOT NULL,
  workspace TEXT,
  name TEXT,
  labels TEXT NOT NULL,                     -- core.events.Labels as JSON
  tenant TEXT,                              -- labels.tenant
  queued INTEGER NOT NULL,                  -- inputs that wait
  actions INTEGER NOT NULL,                 -- pending actions without an answer
  first_prompt TEXT NOT NULL,               -- first 200 characters of the first text a user sent
  epoch INTEGER NOT NULL DEFAULT 0,         -- grows with each claim
  owner TEXT,                               -- who holds the lease; may have died
  lease_until_ms INTEGER NOT NULL DEFAULT 0, -- by the store's clock
  parent INTEGER,                           -- key of the session it works for
  -- What it has spent together with all that worked for it, as core.meter counts, up to the last event.
  tokens INTEGER NOT NULL DEFAULT 0,
  nano_usd INTEGER NOT NULL DEFAULT 0,
  turns INTEGER NOT NULL DEFAULT 0,
  tool_calls INTEGER NOT NULL DEFAULT 0,
  time_ms INTEGER NOT NULL DEFAULT 0,
  since_ms INTEGER,                         -- since when its own clock runs, if it does
  uncounted INTEGER NOT NULL DEFAULT 0,     -- bytes of its log that log_bytes does not have yet
  tasks INTEGER NOT NULL DEFAULT 0,         -- how many of its tasks have not ended
  forked INTEGER NOT NULL DEFAULT 0,        -- up to this seq the log is as its parts say
  origin TEXT,                              -- id of the session it was forked from, which may be gone
  searched INTEGER NOT NULL DEFAULT 0,      -- up to this seq the log is in texts
  stale INTEGER NOT NULL DEFAULT 1          -- 1: texts lacks something of the log, or of the name
);

CREATE INDEX sessions_by_activity ON sessions (activity);
CREATE INDEX sessions_with_tasks ON sessions (key) WHERE tasks > 0;
CREATE INDEX sessions_by_parent ON sessions (parent) WHERE parent IS NOT NULL;

CREATE TABLE events (
  -- sessions.key * 2^32 + seq. As one integer it is the row's own key, which keeps appends at the end of a page and bodies
  -- whole in it: a quarter less is written and stored than with a primary key of two columns.
  position INTEGER PRIMARY KEY,
  session INTEGER GENERATED ALWAYS AS (position >> 32) VIRTUAL,
  seq INTEGER GENERATED ALWAYS AS (position & 4294967295) VIRTUAL, -- 1, 2, 3 ...
  at_ms INTEGER NOT NULL,
  run TEXT,
  type TEXT NOT NULL,
  body BLOB NOT NULL                        -- the JSON object as it was appended, to the byte
);

CREATE TABLE fork_parts (                   -- what logs begin with that other logs hold
  session INTEGER NOT NULL,
  last INTEGER NOT NULL,                    -- from the end of the part before up to this seq ...
  log INTEGER NOT NULL,                     -- ... the events are in the log of this key
  PRIMARY KEY (session, last)
) WITHOUT ROWID;

CREATE INDEX fork_parts_by_log ON fork_parts (log, last);

CREATE TABLE idempotency_keys (
  session INTEGER NOT NULL,
  key TEXT NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  digest BLOB NOT NULL,                     -- of the types and bodies first appended under this key
  PRIMARY KEY (session, key)
) WITHOUT ROWID;

CREATE TABLE snapshots (
  session INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  version INTEGER NOT NULL,                 -- core.state.SNAPSHOT_VERSION when it was packed
  state BLOB NOT NULL
);

CREATE TABLE agents (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,                 -- 1, 2, 3 ... per name
  spec TEXT NOT NULL,                       -- core.agent.AgentSpec as JSON
  PRIMARY KEY (name, version)
) WITHOUT ROWID;

CREATE TABLE artifacts (
  ref TEXT NOT NULL UNIQUE,                 -- sha256:<hex>
  size INTEGER NOT NULL,
  media_type TEXT NOT NULL,                 -- as first stored
  content BLOB NOT NULL
);

CREATE INDEX artifacts_by_size ON artifacts (size);

CREATE TABLE artifact_uses (
  session INTEGER NOT NULL,
  ref TEXT NOT NULL,
  place INTEGER NOT NULL DEFAULT 0,         -- grows with each put: the lowest is the oldest
  stored_ms INTEGER NOT NULL DEFAULT 0,     -- when it was last put, by the store's clock
  pinned INTEGER NOT NULL DEFAULT 0,
  released_ms INTEGER,                      -- when it was let go of because of limits; its content may be gone
  PRIMARY KEY (session, ref)
) WITHOUT ROWID;

CREATE INDEX artifact_uses_by_ref ON artifact_uses (ref);
CREATE INDEX artifact_uses_by_place ON artifact_uses (place);
CREATE INDEX artifact_uses_held ON artifact_uses (session, place) WHERE released_ms IS NULL;

CREATE TABLE saved_rules (
  tenant TEXT NOT NULL,                     -- '' for none
  workspace TEXT NOT NULL,                  -- the folder they hold in, '' for sessions without one
  rule TEXT NOT NULL,
  verdict TEXT NOT NULL,                    -- allow, ask or deny
  saved_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, workspace, rule)
) WITHOUT ROWID;

CREATE TABLE documents (
  key INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,                     -- '' for none
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  revision INTEGER NOT NULL,                -- 1, 2, 3 ... with each put
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  archived_ms INTEGER,
  expires_ms INTEGER,                       -- from when on it is as good as deleted
  body BLOB NOT NULL,                       -- a JSON object
  session TEXT,                             -- whose it is: it goes when that is deleted
  UNIQUE (tenant, kind, id)
);

CREATE INDEX documents_by_creation ON documents (tenant, kind, created_ms, id);
CREATE INDEX documents_by_expiry ON documents (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX documents_by_session ON documents (session) WHERE session IS NOT NULL;

CREATE TABLE document_keys (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  tenant TEXT NOT NULL,                     -- the document's
  document INTEGER NOT NULL,                -- documents.key
  only INTEGER NOT NULL,                    -- 1: no other document of this kind and tenant may have it
  PRIMARY KEY (kind, name, value, tenant, document)
) WITHOUT ROWID;

CREATE INDEX document_keys_by_document ON document_keys (document);
CREATE UNIQUE INDEX document_keys_only ON document_keys (tenant, kind, name, value) WHERE only = 1;

CREATE TABLE document_contents (
  document INTEGER PRIMARY KEY,             -- documents.key
  content BLOB NOT NULL
);

CREATE INDEX sessions_by_creation ON sessions (tenant, created_ms, id);

CREATE TABLE feed (
  position INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of commits; never given twice
  type TEXT NOT NULL,
  subject TEXT NOT NULL,                    -- id of the session or the document
  tenant TEXT,
  seq INTEGER NOT NULL,                     -- the event's, or the document's revision
  at_ms INTEGER NOT NULL,
  body BLOB NOT NULL                        -- as core.feed says
);

CREATE TABLE feed_types (                   -- what is fed
  type TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE log_bytes (
  tenant TEXT PRIMARY KEY,                  -- '' for none
  bytes INTEGER NOT NULL                    -- of the bodies of all events of its sessions, but sessions.uncounted
) WITHOUT ROWID;

CREATE INDEX sessions_by_status ON sessions (status, tenant);

CREATE TABLE loads (                        -- logs that are being loaded: their events are there, their sessions are not
  key INTEGER PRIMARY KEY,                  -- the session's, once it is there
  owner TEXT NOT NULL                       -- who loads it; what one that died has left is removed
);

CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2'); -- rowid: events.position; seq 0: a name

CREATE INDEX sessions_stale ON sessions (key) WHERE stale = 1;

CREATE TABLE memory_places (
  key INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,                     -- '' for none
  scope TEXT NOT NULL,                      -- user, project or tenant
  owner TEXT NOT NULL,                      -- the user or the folder, '' for who has no name
  UNIQUE (tenant, scope, owner)
);

CREATE TABLE memories (
  key INTEGER PRIMARY KEY,
  place INTEGER NOT NULL,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,                       -- episodic, semantic, procedural or working
  content TEXT NOT NULL,
  importance REAL NOT NULL,
  tags TEXT NOT NULL,                       -- a JSON array
  metadata TEXT NOT NULL,                   -- a JSON object
  session TEXT,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  accessed_ms INTEGER,
  accesses INTEGER NOT NULL DEFAULT 0,
  UNIQUE (place, id)
);

CREATE INDEX memories_recent ON memories (place, updated_ms);

-- rowid: memories.key; place: 'p' and the place's key, so that only the words of the places that are asked for are looked at.
CREATE VIRTUAL TABLE memory_words USING fts5 (place, words, tokenize = 'unicode61 remove_diacritics 2');

CREATE TABLE memory_vectors (
  memory INTEGER PRIMARY KEY,
  embedder TEXT NOT NULL,
  vector BLOB NOT NULL                      -- of length 1, 32-bit floats, little-endian
);
