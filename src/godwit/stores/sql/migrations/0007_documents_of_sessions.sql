-- Documents that go with a session.

ALTER TABLE documents ADD COLUMN session TEXT;

CREATE INDEX documents_by_session ON documents (session) WHERE session IS NOT NULL;

-- Outputs, and what the Managed Agents protocol keeps of a session.
UPDATE documents SET session = (SELECT value FROM document_keys WHERE document = documents.key AND name = 'session')
WHERE kind = 'file';
UPDATE documents SET session = id WHERE kind = 'managed_agents.session';
