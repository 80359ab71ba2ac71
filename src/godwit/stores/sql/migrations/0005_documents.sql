-- What a host keeps beside its sessions, and pages of sessions in the order they were made.

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
  UNIQUE (tenant, kind, id)
);

CREATE INDEX documents_by_creation ON documents (tenant, kind, created_ms, id);
CREATE INDEX documents_by_expiry ON documents (expires_ms) WHERE expires_ms IS NOT NULL;

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
