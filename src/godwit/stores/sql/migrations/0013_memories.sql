-- What is remembered beyond sessions.

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
