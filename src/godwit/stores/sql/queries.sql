-- Every query the SQLite store runs, each under the line `-- name: <name>`.

-- name: session_row
-- What an append is checked against.
SELECT key, head, gate, epoch, activity, first_prompt <> '', parent, since_ms, tenant, uncounted, stale
FROM sessions WHERE id = :id;

-- name: insert_session
-- Its key is greater than all that are in use, also by logs that are being loaded, unless it was one of those.
INSERT INTO sessions (key, id, head, gate, status, created_ms, updated_ms, activity, agent, agent_version, workspace, name,
                      labels, tenant, queued, actions, first_prompt, parent, forked, origin)
VALUES (coalesce(:key, 1 + max((SELECT coalesce(max(key), 0) FROM sessions), (SELECT coalesce(max(key), 0) FROM loads))),
        :id, :forked, x'80', 'queued', :at_ms, :at_ms, :activity, :agent, :agent_version, :workspace, :name,
        :labels, :tenant, 0, 0, coalesce((SELECT first_prompt FROM sessions WHERE id = :origin), ''), :parent, :forked, :origin);

-- name: insert_log_part
INSERT INTO fork_parts (session, last, log) VALUES (?, ?, ?);

-- name: share_artifacts
INSERT INTO artifact_uses (session, ref, place, stored_ms, pinned, released_ms)
SELECT :session, ref, place, stored_ms, pinned, released_ms FROM artifact_uses WHERE session = :origin;

-- name: log_parts
SELECT log, last FROM fork_parts WHERE session = ? ORDER BY last;

-- name: heir
-- Who needs most of a log, of those that begin with it.
SELECT session, last FROM fork_parts WHERE log = ? AND session <> log ORDER BY last DESC LIMIT 1;

-- name: hand_over_events
UPDATE events SET position = (:heir << 32) + (position & 4294967295) WHERE position > :key << 32 AND position <= (:key << 32) + :last;

-- name: hand_over_parts
UPDATE fork_parts SET log = :heir WHERE log = :key;

-- name: delete_parts
DELETE FROM fork_parts WHERE session = ?;

-- name: update_session
UPDATE sessions
SET head = :head, gate = :gate, uncounted = :uncounted, updated_ms = :updated_ms, queued = :queued, actions = :actions,
    name = coalesce(:name, name), agent = coalesce(:agent, agent), agent_version = coalesce(:agent_version, agent_version),
    first_prompt = coalesce(:first_prompt, first_prompt), since_ms = :since_ms,
    tokens = tokens + :tokens, nano_usd = nano_usd + :nano_usd, turns = turns + :turns,
    tool_calls = tool_calls + :tool_calls, time_ms = time_ms + :time_ms
WHERE key = :key;

-- name: update_session_tasks
UPDATE sessions SET tasks = :tasks WHERE key = :key;

-- name: spend_above
-- What a session spends is spent by those it works for as well.
WITH RECURSIVE above (key) AS (
  SELECT parent FROM sessions WHERE key = :key
  UNION
  SELECT s.parent FROM above a JOIN sessions s ON s.key = a.key WHERE s.parent IS NOT NULL
)
UPDATE sessions
SET tokens = tokens + :tokens, nano_usd = nano_usd + :nano_usd, turns = turns + :turns,
    tool_calls = tool_calls + :tool_calls, time_ms = time_ms + :time_ms
WHERE key IN (SELECT key FROM above);

-- name: spent
SELECT tokens, nano_usd, turns, tool_calls, time_ms FROM sessions WHERE id = ?;

-- name: children
SELECT id FROM sessions WHERE parent = ?;

-- name: sessions_with_tasks
SELECT id FROM sessions WHERE tasks > 0 ORDER BY key;

-- name: descendants
-- Parents before their children.
WITH RECURSIVE below (key, id, created_ms, depth) AS (
  SELECT c.key, c.id, c.created_ms, 1 FROM sessions c JOIN sessions p ON c.parent = p.key WHERE p.id = :session
  UNION ALL
  SELECT c.key, c.id, c.created_ms, b.depth + 1 FROM below b JOIN sessions c ON c.parent = b.key
)
SELECT id FROM below WHERE :from_ms IS NULL OR created_ms >= :from_ms ORDER BY depth, key;

-- name: hand_over_children
-- Those of a session that goes work for the one it worked for, and its own spending stays with that one.
UPDATE sessions SET parent = (SELECT parent FROM sessions WHERE key = :key) WHERE parent = :key;

-- name: update_session_status
-- On its own, as is the activity: naming a column touches its indexes with every append.
UPDATE sessions SET status = :status WHERE key = :key;

-- name: log_size
SELECT coalesce(sum(length(body)), 0) FROM events WHERE position >= :session << 32 AND position < (:session + 1) << 32;

-- name: add_log_bytes
UPDATE log_bytes SET bytes = bytes + ? WHERE tenant = ?;

-- name: begin_log_bytes
INSERT INTO log_bytes (bytes, tenant) VALUES (?, ?);

-- name: end_log_bytes
-- With its last session nothing of a tenant stays.
DELETE FROM log_bytes WHERE tenant = ? AND bytes = 0;

-- name: log_bytes
SELECT bytes FROM log_bytes WHERE tenant = :tenant;

-- name: update_session_activity
-- On its own, because naming the column would touch its index with every append.
UPDATE sessions SET activity = :activity WHERE key = :key;

-- name: insert_event
INSERT INTO events (position, at_ms, run, type, body) VALUES (?, ?, ?, ?, ?);

-- name: find_key
SELECT first, last, digest FROM idempotency_keys WHERE session = ? AND key = ?;

-- name: insert_key
INSERT INTO idempotency_keys (session, key, first, last, digest) VALUES (?, ?, ?, ?, ?);

-- name: head
SELECT key, head, forked FROM sessions WHERE id = ?;

-- name: read_events
SELECT seq, at_ms, run, type, body FROM events
WHERE position > :after AND position <= :to ORDER BY position LIMIT :limit;

-- name: read_events_newest_first
SELECT seq, at_ms, run, type, body FROM events
WHERE position > :after AND position <= :to ORDER BY position DESC LIMIT :limit;

-- name: read_events_of_types
SELECT seq, at_ms, run, type, body FROM events
WHERE position > :after AND position <= :to AND type IN (SELECT value FROM json_each(:types))
ORDER BY position LIMIT :limit;

-- name: read_events_of_types_newest_first
SELECT seq, at_ms, run, type, body FROM events
WHERE position > :after AND position <= :to AND type IN (SELECT value FROM json_each(:types))
ORDER BY position DESC LIMIT :limit;

-- name: get_session
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels, owner, lease_until_ms,
       epoch, queued, actions, first_prompt, gate, (SELECT id FROM sessions p WHERE p.key = sessions.parent), origin
FROM sessions WHERE id = :id;

-- name: list_sessions
-- Activity grows with updated_ms, so its index yields the pages in order and only rows of one activity are sorted.
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels, owner, lease_until_ms,
       epoch, queued, actions, first_prompt, gate, (SELECT id FROM sessions p WHERE p.key = sessions.parent), origin
FROM sessions
WHERE activity <= :before_activity
  AND (updated_ms < :before_ms OR (updated_ms = :before_ms AND id < :before_id))
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:workspace IS NULL OR workspace = :workspace)
  AND (:tenant IS NULL OR tenant = :tenant)
  AND (:archived OR status <> 'archived')
  AND (NOT :top_level OR parent IS NULL)
ORDER BY activity DESC, updated_ms DESC, id DESC
LIMIT :limit;

-- name: list_sessions_by_prefix
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels, owner, lease_until_ms,
       epoch, queued, actions, first_prompt, gate, (SELECT id FROM sessions p WHERE p.key = sessions.parent), origin
FROM sessions
WHERE id >= :prefix AND id < :prefix || char(1114111)
  AND (updated_ms < :before_ms OR (updated_ms = :before_ms AND id < :before_id))
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:workspace IS NULL OR workspace = :workspace)
  AND (:tenant IS NULL OR tenant = :tenant)
  AND (:archived OR status <> 'archived')
  AND (NOT :top_level OR parent IS NULL)
ORDER BY updated_ms DESC, id DESC
LIMIT :limit;

-- name: list_sessions_by_parent
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels, owner, lease_until_ms,
       epoch, queued, actions, first_prompt, gate, (SELECT id FROM sessions p WHERE p.key = sessions.parent), origin
FROM sessions
WHERE parent = (SELECT key FROM sessions p WHERE p.id = :parent)
  AND (:prefix IS NULL OR (id >= :prefix AND id < :prefix || char(1114111)))
  AND (updated_ms < :before_ms OR (updated_ms = :before_ms AND id < :before_id))
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:workspace IS NULL OR workspace = :workspace)
  AND (:tenant IS NULL OR tenant = :tenant)
  AND (:archived OR status <> 'archived')
ORDER BY updated_ms DESC, id DESC
LIMIT :limit;

-- name: lease
SELECT key, epoch, owner, lease_until_ms FROM sessions WHERE id = ?;

-- name: claim
UPDATE sessions SET epoch = :epoch, owner = :owner, lease_until_ms = :until WHERE key = :key;

-- name: renew
UPDATE sessions SET lease_until_ms = :until WHERE id = :id AND epoch = :epoch AND owner = :owner;

-- name: release
UPDATE sessions SET owner = NULL, lease_until_ms = 0 WHERE id = :id AND epoch = :epoch AND owner = :owner;

-- name: delete_events
DELETE FROM events WHERE position >= :session << 32 AND position < (:session + 1) << 32;

-- name: delete_keys
DELETE FROM idempotency_keys WHERE session = ?;

-- name: delete_snapshot
DELETE FROM snapshots WHERE session = ?;

-- name: delete_artifacts
-- Those no other session uses.
DELETE FROM artifacts WHERE ref IN (SELECT ref FROM artifact_uses WHERE session = :session)
  AND NOT EXISTS (SELECT 1 FROM artifact_uses u
                  WHERE u.ref = artifacts.ref AND u.session <> :session AND u.released_ms IS NULL);

-- name: delete_artifact_uses
DELETE FROM artifact_uses WHERE session = ?;

-- name: delete_session
DELETE FROM sessions WHERE key = ?;

-- name: put_snapshot
-- A slow writer does not replace a newer one.
INSERT INTO snapshots (session, seq, version, state) VALUES (:session, :seq, :version, :state)
ON CONFLICT (session) DO UPDATE SET seq = excluded.seq, version = excluded.version, state = excluded.state
WHERE excluded.seq >= snapshots.seq OR excluded.version <> snapshots.version;

-- name: get_snapshot
SELECT n.seq, n.version, n.state FROM sessions s LEFT JOIN snapshots n ON n.session = s.key WHERE s.id = ?;

-- name: newest_agent
SELECT version, spec FROM agents WHERE name = ? ORDER BY version DESC LIMIT 1;

-- name: get_agent
SELECT version, spec FROM agents WHERE name = ? AND version = ?;

-- name: insert_agent
INSERT INTO agents (name, version, spec) VALUES (?, ?, ?);

-- name: list_agents
SELECT name, max(version) FROM agents GROUP BY name ORDER BY name;

-- name: list_agent_versions
SELECT name, version FROM agents WHERE name = ? ORDER BY version;

-- name: find_artifact
SELECT ref, size, media_type FROM artifacts WHERE ref = ?;

-- name: insert_artifact
INSERT INTO artifacts (ref, size, media_type, content) VALUES (?, ?, ?, ?);

-- name: use_artifact
-- Stored again, it is as young as a new one.
INSERT INTO artifact_uses (session, ref, place, stored_ms)
VALUES (:session, :ref, (SELECT coalesce(max(place), 0) + 1 FROM artifact_uses), :now)
ON CONFLICT DO UPDATE SET place = excluded.place, stored_ms = excluded.stored_ms, released_ms = NULL;

-- name: held_artifacts
SELECT u.ref, a.size, a.media_type, u.pinned, u.stored_ms
FROM sessions s JOIN artifact_uses u ON u.session = s.key JOIN artifacts a ON a.ref = u.ref
WHERE s.id = ? AND u.released_ms IS NULL ORDER BY u.place;

-- name: artifact_use
SELECT pinned, released_ms FROM artifact_uses WHERE session = ? AND ref = ?;

-- name: pin_artifact
UPDATE artifact_uses SET pinned = :pinned WHERE session = :session AND ref = :ref;

-- name: artifact_released
SELECT max(released_ms) FROM artifact_uses WHERE ref = ?;

-- name: artifact_totals
SELECT count(*), coalesce(sum(size), 0) FROM artifacts;

-- name: oldest_artifact_uses
-- Of the whole store, those whose content nobody has pinned.
SELECT u.session, u.ref, a.size FROM artifact_uses u JOIN artifacts a ON a.ref = u.ref
WHERE u.released_ms IS NULL
  AND NOT EXISTS (SELECT 1 FROM artifact_uses p WHERE p.ref = u.ref AND p.pinned AND p.released_ms IS NULL)
ORDER BY u.place LIMIT 64;

-- name: release_artifact
UPDATE artifact_uses SET released_ms = :now, pinned = 0 WHERE session = :session AND ref = :ref;

-- name: delete_unused_artifact
DELETE FROM artifacts WHERE ref = :ref
  AND NOT EXISTS (SELECT 1 FROM artifact_uses u WHERE u.ref = :ref AND u.released_ms IS NULL);

-- name: get_artifact
SELECT ref, size, media_type, content FROM artifacts WHERE ref = ?;

-- name: save_rule
INSERT INTO saved_rules (tenant, workspace, rule, verdict, saved_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tenant, workspace, rule) DO UPDATE SET verdict = excluded.verdict, saved_ms = excluded.saved_ms
WHERE verdict <> excluded.verdict;

-- name: list_rules
SELECT verdict, rule, saved_ms FROM saved_rules WHERE tenant = ? AND workspace = ? ORDER BY saved_ms, rule;

-- name: delete_rule
DELETE FROM saved_rules WHERE tenant = ? AND workspace = ? AND rule = ?;

-- name: page_sessions
-- The next query is its mirror. One statement for both would have to choose the order by a parameter, which no index can
-- follow: each page would sort all sessions of the tenant. A test holds that these sort none. Change both.
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels, owner, lease_until_ms,
       epoch, queued, actions, first_prompt, gate, (SELECT id FROM sessions p WHERE p.key = sessions.parent), origin
FROM sessions
WHERE tenant IS :tenant
  AND (created_ms > :at_ms OR (created_ms = :at_ms AND id > :at_id))
  AND (:from_ms IS NULL OR created_ms >= :from_ms) AND (:to_ms IS NULL OR created_ms <= :to_ms)
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND ((:agent IS NULL OR agent = :agent) AND (:agent_version IS NULL OR agent_version = :agent_version)
       OR substr(agent, 1, length(:variants)) = :variants)
  AND (:archived OR status <> 'archived')
  AND (NOT :top_level OR parent IS NULL)
ORDER BY created_ms, id
LIMIT :limit;

-- name: page_sessions_newest_first
-- The mirror of the one before.
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels, owner, lease_until_ms,
       epoch, queued, actions, first_prompt, gate, (SELECT id FROM sessions p WHERE p.key = sessions.parent), origin
FROM sessions
WHERE tenant IS :tenant
  AND (created_ms < :at_ms OR (created_ms = :at_ms AND id < :at_id))
  AND (:from_ms IS NULL OR created_ms >= :from_ms) AND (:to_ms IS NULL OR created_ms <= :to_ms)
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND ((:agent IS NULL OR agent = :agent) AND (:agent_version IS NULL OR agent_version = :agent_version)
       OR substr(agent, 1, length(:variants)) = :variants)
  AND (:archived OR status <> 'archived')
  AND (NOT :top_level OR parent IS NULL)
ORDER BY created_ms DESC, id DESC
LIMIT :limit;

-- name: document_revision
SELECT key, revision, created_ms, expires_ms, archived_ms FROM documents WHERE tenant = :tenant AND kind = :kind AND id = :id;

-- name: insert_document
INSERT INTO documents (tenant, kind, id, revision, created_ms, updated_ms, archived_ms, expires_ms, body, session)
VALUES (:tenant, :kind, :id, :revision, :created_ms, :updated_ms, :archived_ms, :expires_ms, :body, :session)
RETURNING key;

-- name: update_document
UPDATE documents
SET revision = :revision, updated_ms = :updated_ms, archived_ms = :archived_ms, expires_ms = :expires_ms, body = :body,
    session = :session
WHERE tenant = :tenant AND kind = :kind AND id = :id;

-- name: insert_document_key
INSERT INTO document_keys (kind, name, value, tenant, document, only)
VALUES (:kind, :name, :value, :tenant, :document, :only);

-- name: document_bytes
-- Kind by kind, so that those left out, which may be most of all, are not walked over.
WITH RECURSIVE kinds (kind) AS (
  SELECT min(kind) FROM documents WHERE tenant = :tenant
  UNION ALL
  SELECT (SELECT min(kind) FROM documents WHERE tenant = :tenant AND kind > k.kind) FROM kinds k WHERE k.kind IS NOT NULL
)
SELECT coalesce(sum(length(d.body) + coalesce(length(c.content), 0)), 0)
FROM kinds k CROSS JOIN documents d ON d.tenant = :tenant AND d.kind = k.kind
LEFT JOIN document_contents c ON c.document = d.key
WHERE k.kind NOT IN (SELECT value FROM json_each(:leave_out));

-- name: count_documents
SELECT count(*) FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.kind = :kind AND k.name = :key AND (d.expires_ms IS NULL OR d.expires_ms > :now);

-- name: unique_holder
SELECT d.id FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.tenant = :tenant AND k.kind = :kind AND k.name = :name AND k.value = :value AND k.only = 1;

-- name: put_document_content
INSERT INTO document_contents (document, content)
VALUES ((SELECT key FROM documents WHERE tenant = :tenant AND kind = :kind AND id = :id), :content)
ON CONFLICT (document) DO UPDATE SET content = excluded.content;

-- name: get_document
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_group_array(json_array(name, value, json(iif(only, 'true', 'false')))) FROM document_keys
        WHERE document = documents.key)
FROM documents
WHERE tenant = :tenant AND kind = :kind AND id = :id AND (expires_ms IS NULL OR expires_ms > :now);

-- name: get_document_content
SELECT (SELECT content FROM document_contents WHERE document = documents.key) FROM documents
WHERE tenant = :tenant AND kind = :kind AND id = :id AND (expires_ms IS NULL OR expires_ms > :now);

-- name: find_document
SELECT d.kind, d.id, d.body, d.tenant, d.revision, d.created_ms, d.updated_ms, d.archived_ms, d.expires_ms, d.session,
       (SELECT json_group_array(json_array(name, value, json(iif(only, 'true', 'false')))) FROM document_keys
        WHERE document = d.key)
FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.kind = :kind AND k.name = :key AND k.value = :value AND (d.expires_ms IS NULL OR d.expires_ms > :now)
ORDER BY d.key LIMIT 1;

-- name: find_documents
SELECT d.kind, d.id, d.body, d.tenant, d.revision, d.created_ms, d.updated_ms, d.archived_ms, d.expires_ms, d.session,
       (SELECT json_group_array(json_array(name, value, json(iif(only, 'true', 'false')))) FROM document_keys
        WHERE document = d.key)
FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.kind = :kind AND k.name = :key AND k.value = :value AND (d.expires_ms IS NULL OR d.expires_ms > :now)
      AND (d.created_ms, d.id) > (:at_ms, :at_id)
ORDER BY d.created_ms, d.id LIMIT :limit;

-- name: list_documents
-- Twice, like `page_sessions` and for the same reason. Change both.
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_group_array(json_array(name, value, json(iif(only, 'true', 'false')))) FROM document_keys
        WHERE document = documents.key)
FROM documents
WHERE tenant = :tenant AND kind = :kind
  AND (created_ms > :at_ms OR (created_ms = :at_ms AND id > :at_id))
  AND (expires_ms IS NULL OR expires_ms > :now)
  AND (:from_ms IS NULL OR created_ms >= :from_ms) AND (:to_ms IS NULL OR created_ms <= :to_ms)
  AND (:archived IS NULL OR (archived_ms IS NOT NULL) = :archived)
  AND (:keys IS NULL OR key IN (
    SELECT k.document FROM json_each(:keys) w
    JOIN document_keys k ON k.kind = :kind AND k.tenant = :tenant
      AND k.name = json_extract(w.value, '$[0]') AND k.value = json_extract(w.value, '$[1]')
    GROUP BY k.document HAVING count(*) = :count))
ORDER BY created_ms, id
LIMIT :limit;

-- name: list_documents_newest_first
-- The mirror of the one before.
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_group_array(json_array(name, value, json(iif(only, 'true', 'false')))) FROM document_keys
        WHERE document = documents.key)
FROM documents
WHERE tenant = :tenant AND kind = :kind
  AND (created_ms < :at_ms OR (created_ms = :at_ms AND id < :at_id))
  AND (expires_ms IS NULL OR expires_ms > :now)
  AND (:from_ms IS NULL OR created_ms >= :from_ms) AND (:to_ms IS NULL OR created_ms <= :to_ms)
  AND (:archived IS NULL OR (archived_ms IS NOT NULL) = :archived)
  AND (:keys IS NULL OR key IN (
    SELECT k.document FROM json_each(:keys) w
    JOIN document_keys k ON k.kind = :kind AND k.tenant = :tenant
      AND k.name = json_extract(w.value, '$[0]') AND k.value = json_extract(w.value, '$[1]')
    GROUP BY k.document HAVING count(*) = :count))
ORDER BY created_ms DESC, id DESC
LIMIT :limit;

-- name: expired_documents
SELECT tenant, kind, id FROM documents WHERE expires_ms IS NOT NULL AND expires_ms <= ?;

-- name: documents_of_session
SELECT tenant, kind, id FROM documents WHERE session = ?;

-- name: stray_documents
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_group_array(json_array(name, value, json(iif(only, 'true', 'false')))) FROM document_keys
        WHERE document = documents.key)
FROM documents
WHERE session IS NOT NULL AND created_ms < :before_ms
  AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = documents.session)
ORDER BY key LIMIT :limit;

-- name: document_keys
SELECT name, value FROM document_keys WHERE document = ? AND only = 0;

-- name: delete_document_keys
DELETE FROM document_keys WHERE document = ?;

-- name: delete_document_content
DELETE FROM document_contents WHERE document = ?;

-- name: delete_document
DELETE FROM documents WHERE key = ?;

-- name: begin_part
SAVEPOINT part;

-- name: undo_part
ROLLBACK TO part;

-- name: end_part
RELEASE part;

-- name: count_sessions
SELECT status, count(*) FROM sessions GROUP BY status;

-- name: count_working
-- A session that was made and not used is queued as well.
SELECT count(*) FROM sessions
WHERE status IN ('running', 'retrying', 'queued') AND tenant IS ? AND (status <> 'queued' OR queued > 0 OR first_prompt <> '');

-- name: count_open_runs
SELECT status, count(*) FROM sessions
WHERE status IN ('running', 'retrying', 'waiting', 'queued') AND (status <> 'queued' OR queued > 0 OR first_prompt <> '')
GROUP BY status;

-- name: feed_types
SELECT type FROM feed_types;

-- name: delete_feed_types
DELETE FROM feed_types;

-- name: insert_feed_type
INSERT INTO feed_types (type) VALUES (?);

-- name: feed_event
INSERT INTO feed (type, subject, tenant, seq, at_ms, body)
SELECT :type, id, tenant, :seq, :at_ms, :body FROM sessions WHERE key = :key;

-- name: feed_document
INSERT INTO feed (type, subject, tenant, seq, at_ms, body) VALUES (?, ?, ?, ?, ?, ?);

-- name: feed_head
-- Also when all of it was trimmed.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'feed'), 0);

-- name: read_feed
SELECT position, type, subject, tenant, seq, at_ms, body FROM feed WHERE position > :after ORDER BY position LIMIT :limit;

-- name: trim_feed
DELETE FROM feed WHERE position <= ?;

-- name: begin_load
INSERT INTO loads (key, owner)
VALUES (1 + max((SELECT coalesce(max(key), 0) FROM sessions), (SELECT coalesce(max(key), 0) FROM loads)), ?)
RETURNING key;

-- name: end_load
DELETE FROM loads WHERE key = ?;

-- name: loads
SELECT key, owner FROM loads;

-- name: stale_texts
SELECT key, id, head, searched FROM sessions WHERE stale = 1 ORDER BY key LIMIT ?;

-- name: mark_stale
-- On its own, and once, because naming the column touches its index.
UPDATE sessions SET stale = 1 WHERE key = ?;

-- name: texts_between
SELECT position, type, body FROM events WHERE position > :after AND position <= :to AND type IN ('user.message', 'agent.message');

-- name: insert_text
INSERT OR REPLACE INTO texts (rowid, text) VALUES (?, ?);

-- name: text_at
SELECT type, body FROM events WHERE position = ?;

-- name: session_name
SELECT name FROM sessions WHERE key = ? AND name IS NOT NULL;

-- name: drop_text
DELETE FROM texts WHERE rowid = ?;

-- name: searched
UPDATE sessions SET searched = :seq, stale = :stale WHERE key = :key;

-- name: delete_texts
DELETE FROM texts WHERE rowid >= :session << 32 AND rowid < (:session + 1) << 32;

-- name: search
SELECT s.id, t.rowid, s.name, bm25(texts), coalesce(e.at_ms, s.updated_ms),
       CASE e.type WHEN 'user.message' THEN 'user' WHEN 'agent.message' THEN 'agent' ELSE 'name' END
FROM texts t JOIN sessions s ON s.key = t.rowid >> 32 LEFT JOIN events e ON e.position = t.rowid
WHERE texts MATCH :query
  AND (:every OR s.tenant IS :tenant)
  AND (:workspace IS NULL OR s.workspace = :workspace)
ORDER BY bm25(texts), t.rowid DESC
LIMIT :limit OFFSET :offset;

-- name: memory_places
-- The keys of those that there are, the first that was asked for first.
SELECT places.key, asked.key FROM json_each(:places) AS asked
JOIN memory_places AS places ON places.tenant = json_extract(asked.value, '$[0]')
  AND places.scope = json_extract(asked.value, '$[1]') AND places.owner = json_extract(asked.value, '$[2]')
ORDER BY asked.key;

-- name: insert_memory_place
INSERT OR IGNORE INTO memory_places (tenant, scope, owner) VALUES (?, ?, ?);

-- name: insert_memory
INSERT INTO memories (place, id, kind, content, importance, tags, metadata, session, created_ms, updated_ms)
VALUES (:place, :id, :kind, :content, :importance, :tags, :metadata, :session, :now, :now)
RETURNING key;

-- name: update_memory
UPDATE memories SET kind = :kind, content = :content, importance = :importance, tags = :tags, metadata = :metadata,
  session = :session, updated_ms = :now
WHERE key = :key;

-- name: insert_memory_words
INSERT INTO memory_words (rowid, place, words) VALUES (?, ?, ?);

-- name: delete_memory_words
DELETE FROM memory_words WHERE rowid = ?;

-- name: delete_memory_vector
DELETE FROM memory_vectors WHERE memory = ?;

-- name: delete_memory
DELETE FROM memories WHERE key = ?;

-- name: put_memory_vector
INSERT OR REPLACE INTO memory_vectors (memory, embedder, vector) VALUES (?, ?, ?);

-- name: memory_key
SELECT key, updated_ms FROM memories WHERE place = ? AND id = ?;

-- name: memories_by_key
SELECT memories.key, tenant, scope, owner, id, kind, content, importance, tags, metadata, session, created_ms, updated_ms,
  accessed_ms, accesses
FROM memories JOIN memory_places AS places ON places.key = memories.place
WHERE memories.key IN (SELECT value FROM json_each(:keys));

-- name: search_memories
SELECT memory_words.rowid, -bm25(memory_words, 0.0, 1.0) AS rank
FROM memory_words JOIN memories ON memories.key = memory_words.rowid
WHERE memory_words MATCH :query AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY rank DESC LIMIT :limit;

-- name: memory_vectors
SELECT memories.key, vector FROM memories JOIN memory_vectors ON memory = memories.key
WHERE place IN (SELECT value FROM json_each(:places)) AND embedder = :embedder
  AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY updated_ms DESC LIMIT :limit;

-- name: vectors_of_memories
SELECT memory, vector FROM memory_vectors
WHERE memory IN (SELECT value FROM json_each(:keys)) AND embedder = :embedder;

-- name: memories_without_vector
SELECT memories.key FROM memories LEFT JOIN memory_vectors ON memory = memories.key AND embedder = :embedder
WHERE place IN (SELECT value FROM json_each(:places)) AND memory IS NULL
ORDER BY updated_ms DESC LIMIT :limit;

-- name: list_memories
SELECT memories.key FROM memories
WHERE place IN (SELECT value FROM json_each(:places)) AND importance >= :least
  AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
  AND (:tags IS NULL OR EXISTS
    (SELECT 1 FROM json_each(memories.tags) AS has JOIN json_each(:tags) AS wanted ON has.value = wanted.value))
ORDER BY CASE WHEN :by_importance THEN importance ELSE 0 END DESC, updated_ms DESC, memories.key DESC
LIMIT :limit OFFSET :offset;

-- name: touch_memory
UPDATE memories SET accessed_ms = ?, accesses = accesses + 1 WHERE place = ? AND id = ?;

-- name: count_memories
SELECT scope, kind, count(*) FROM memories JOIN memory_places AS places ON places.key = memories.place
WHERE place IN (SELECT value FROM json_each(:places)) GROUP BY scope, kind;

-- name: keys_of_memories
SELECT key FROM memories WHERE place = ?;

-- name: old_memories
SELECT key FROM memories
WHERE place = :place AND max(updated_ms, coalesce(accessed_ms, 0)) < CASE kind WHEN 'working' THEN :working ELSE :old END
  AND (kind = 'working' OR importance < :least);
