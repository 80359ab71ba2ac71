-- Every query the PostgreSQL store runs, each under the line `-- name: <name>`. Those that the parts of a store use have the
-- names and parameters of the SQLite store's. `:name`, or `?` in order, becomes $1, $2 ...; events go by a position there,
-- which is the session's key * 2^32 + seq.

-- name: lock_sessions
-- The sessions of a batch and all they work for, in one order for everybody, until the end of the transaction; and what is fed.
-- The outer join is made with what was locked, so that a row waited for is the newest.
WITH RECURSIVE wanted (key, parent) AS (
  SELECT key, parent FROM sessions WHERE id = ANY (:ids::text[])
  UNION
  SELECT s.key, s.parent FROM wanted w JOIN sessions s ON s.key = w.parent
), locked AS MATERIALIZED (
  SELECT id, key, head, gate, epoch, activity, first_prompt <> '' AS prompted, parent, since_ms, tenant, uncounted, stale
  FROM sessions WHERE key IN (SELECT key FROM wanted) ORDER BY key FOR UPDATE
)
SELECT ARRAY(SELECT type FROM feed_types) AS fed, l.*
FROM (SELECT 1) AS one LEFT JOIN locked l ON l.id = ANY (:ids::text[]);

-- name: lock_session
SELECT key, head, gate, epoch, activity, first_prompt <> '', parent, since_ms, tenant, uncounted, stale
FROM sessions WHERE id = :id::text FOR UPDATE;

-- name: fed
SELECT type FROM feed_types;

-- name: lock_about
-- Those about one thing come one after the other, until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' about ' || :about::text, 0));

-- name: new_keys
SELECT nextval('session_keys') FROM generate_series(1, :count::int);

-- name: find_keys
SELECT k.session, k.key, k.first, k.last, k.digest
FROM unnest(:sessions::bigint[], :keys::text[]) AS w (session, key) JOIN idempotency_keys k USING (session, key);

-- name: insert_sessions
INSERT INTO sessions (key, id, head, gate, status, created_ms, updated_ms, activity, agent, agent_version, workspace, name,
                      labels, tenant, queued, actions, first_prompt, parent, forked, origin)
SELECT key, id, forked, '\x80'::bytea, 'queued', at_ms, at_ms, activity, agent, agent_version, workspace, name,
       labels, tenant, 0, 0, coalesce((SELECT s.first_prompt FROM sessions s WHERE s.id = n.origin), ''), parent, forked, origin
FROM unnest(:keys::bigint[], :ids::text[], :at_ms::bigint[], :activities::bigint[], :agents::text[], :versions::int[],
            :workspaces::text[], :names::text[], :labels::text[], :tenants::text[], :parents::bigint[], :forked::int[],
            :origins::text[])
  AS n (key, id, at_ms, activity, agent, agent_version, workspace, name, labels, tenant, parent, forked, origin);

-- name: share_log
-- A fork begins with the parts of its origin up to there, and then with the origin itself.
INSERT INTO fork_parts (session, last, log)
SELECT :session::bigint, least(last, :at::int), log
FROM (SELECT last, log, lag(last, 1, 0) OVER (ORDER BY last) AS begun
      FROM (SELECT last, log FROM fork_parts WHERE session = :origin::bigint
            UNION ALL SELECT 2147483647, :origin::bigint) AS whole) AS parts
WHERE begun < :at::int;

-- name: share_artifacts
INSERT INTO artifact_uses (session, ref, place, stored_ms, pinned, released_ms)
SELECT :session::bigint, ref, place, stored_ms, pinned, released_ms FROM artifact_uses WHERE session = :origin::bigint;

-- name: write
-- All that a batch has changed, but for what is rare.
WITH written AS (
  INSERT INTO events (session, seq, at_ms, run, type, body)
  SELECT * FROM unnest(:logs::bigint[], :seqs::int[], :at_ms::bigint[], :runs::text[], :types::text[], :bodies::bytea[])
), keyed AS (
  INSERT INTO idempotency_keys (session, key, first, last, digest)
  SELECT * FROM unnest(:keyed::bigint[], :keys::text[], :firsts::int[], :lasts::int[], :digests::bytea[])
), changed AS (
  UPDATE sessions s
  SET head = n.head, gate = n.gate, status = n.status, uncounted = n.uncounted, updated_ms = n.updated_ms,
      activity = n.activity, queued = n.queued, actions = n.actions, tasks = n.tasks, name = coalesce(n.name, s.name),
      agent = coalesce(n.agent, s.agent), agent_version = coalesce(n.agent_version, s.agent_version),
      first_prompt = coalesce(n.first_prompt, s.first_prompt), since_ms = n.since_ms, tokens = s.tokens + n.tokens,
      nano_usd = s.nano_usd + n.nano_usd, turns = s.turns + n.turns, tool_calls = s.tool_calls + n.tool_calls,
      time_ms = s.time_ms + n.time_ms, stale = 1
  FROM unnest(:changed::bigint[], :heads::int[], :gates::bytea[], :statuses::text[], :uncounted::bigint[],
              :updated_ms::bigint[], :activities::bigint[], :queued::int[], :actions::int[], :tasks::int[], :names::text[],
              :agents::text[], :versions::int[], :prompts::text[], :since_ms::bigint[], :tokens::bigint[],
              :nano_usd::bigint[], :turns::bigint[], :tool_calls::bigint[], :time_ms::bigint[])
    AS n (key, head, gate, status, uncounted, updated_ms, activity, queued, actions, tasks, name, agent, agent_version,
          first_prompt, since_ms, tokens, nano_usd, turns, tool_calls, time_ms)
  WHERE s.key = n.key
)
INSERT INTO commits (token, slot, number, at)
SELECT :token::text, 0, :number::bigint, clock_timestamp() WHERE :token::text IS NOT NULL
ON CONFLICT (token, slot) DO UPDATE SET number = excluded.number, at = excluded.at;

-- name: mark
INSERT INTO commits (token, slot, number, at) VALUES (:token::text, :slot::int, :number::bigint, clock_timestamp())
ON CONFLICT (token, slot) DO UPDATE SET number = excluded.number, at = excluded.at;

-- name: end_commits
-- Of this process; and those that have not been used for so long that nobody asks any more.
DELETE FROM commits WHERE token = :token::text OR at < clock_timestamp() - interval '7 days';

-- name: spend_above
-- What sessions spend is spent by those they work for as well.
WITH RECURSIVE above (key, tokens, nano_usd, turns, tool_calls, time_ms) AS (
  SELECT * FROM unnest(:parents::bigint[], :tokens::bigint[], :nano_usd::bigint[], :turns::bigint[], :tool_calls::bigint[],
                       :time_ms::bigint[])
  UNION ALL
  SELECT s.parent, a.tokens, a.nano_usd, a.turns, a.tool_calls, a.time_ms
  FROM above a JOIN sessions s ON s.key = a.key WHERE s.parent IS NOT NULL
), total AS (
  SELECT key, sum(tokens)::bigint AS tokens, sum(nano_usd)::bigint AS nano_usd, sum(turns)::bigint AS turns,
         sum(tool_calls)::bigint AS tool_calls, sum(time_ms)::bigint AS time_ms
  FROM above GROUP BY key
)
UPDATE sessions s
SET tokens = s.tokens + t.tokens, nano_usd = s.nano_usd + t.nano_usd, turns = s.turns + t.turns,
    tool_calls = s.tool_calls + t.tool_calls, time_ms = s.time_ms + t.time_ms
FROM total t WHERE s.key = t.key;

-- name: add_log_bytes
INSERT INTO log_bytes AS l (tenant, bytes)
SELECT * FROM unnest(:tenants::text[], :bytes::bigint[]) AS n (tenant, bytes) ORDER BY 1
ON CONFLICT (tenant) DO UPDATE SET bytes = l.bytes + excluded.bytes;

-- name: end_log_bytes
-- With its last session nothing of a tenant stays.
DELETE FROM log_bytes WHERE bytes = 0 AND tenant = ANY (:tenants::text[]);

-- name: write_feed
WITH head AS (
  UPDATE feed_head SET position = position + cardinality(:types::text[])
  RETURNING position - cardinality(:types::text[]) AS before
)
INSERT INTO feed (position, type, subject, tenant, seq, at_ms, body)
SELECT head.before + n.number, n.type, n.subject, n.tenant, n.seq, n.at_ms, n.body
FROM head, unnest(:types::text[], :subjects::text[], :tenants::text[], :seqs::int[], :at_ms::bigint[], :bodies::bytea[])
  WITH ORDINALITY AS n (type, subject, tenant, seq, at_ms, body, number)
RETURNING position;

-- name: outcome
-- Waits for a transaction that is still at it, although nobody listens to it any more.
SELECT number FROM commits WHERE token = :token::text AND slot = :slot::int FOR UPDATE;

-- name: insert_events
INSERT INTO events (session, seq, at_ms, run, type, body)
SELECT * FROM unnest(:logs::bigint[], :seqs::int[], :at_ms::bigint[], :runs::text[], :types::text[], :bodies::bytea[]);

-- name: log_parts
SELECT log, last FROM fork_parts WHERE session = ?::bigint ORDER BY last;

-- name: heir
-- Who needs most of a log, of those that begin with it.
SELECT session, last FROM fork_parts WHERE log = ?::bigint AND session <> log ORDER BY last DESC LIMIT 1;

-- name: hand_over_events
UPDATE events SET session = :heir::bigint WHERE session = :key::bigint AND seq <= :last::int;

-- name: hand_over_parts
UPDATE fork_parts SET log = :heir::bigint WHERE log = :key::bigint;

-- name: delete_parts
DELETE FROM fork_parts WHERE session = ?::bigint;

-- name: spent
SELECT tokens, nano_usd, turns, tool_calls, time_ms FROM sessions WHERE id = ?::text;

-- name: children
SELECT id FROM sessions WHERE parent = ?::bigint;

-- name: sessions_with_tasks
SELECT id FROM sessions WHERE tasks > 0 ORDER BY key;

-- name: descendants
-- Parents before their children.
WITH RECURSIVE below (key, id, created_ms, depth) AS (
  SELECT c.key, c.id, c.created_ms, 1 FROM sessions c JOIN sessions p ON c.parent = p.key WHERE p.id = :session::text
  UNION ALL
  SELECT c.key, c.id, c.created_ms, b.depth + 1 FROM below b JOIN sessions c ON c.parent = b.key
)
SELECT id FROM below WHERE :from_ms::bigint IS NULL OR created_ms >= :from_ms::bigint ORDER BY depth, key;

-- name: hand_over_children
-- Those of a session that goes work for the one it worked for, and its own spending stays with that one.
UPDATE sessions SET parent = (SELECT parent FROM sessions WHERE key = :key::bigint) WHERE parent = :key::bigint;

-- name: log_size
SELECT coalesce(sum(length(body)), 0)::bigint FROM events WHERE session = :session::bigint;

-- name: log_bytes
SELECT bytes FROM log_bytes WHERE tenant = :tenant::text;

-- name: head
SELECT key, head, forked FROM sessions WHERE id = ?::text;

-- name: heads
SELECT id, head FROM sessions WHERE id = ANY (:ids::text[]);

-- name: read_events
SELECT seq, at_ms, run, type, body FROM events
WHERE session = (:after::bigint >> 32) AND seq > (:after::bigint & 4294967295) AND seq <= (:to::bigint & 4294967295)
ORDER BY seq LIMIT :limit::bigint;

-- name: read_events_newest_first
SELECT seq, at_ms, run, type, body FROM events
WHERE session = (:after::bigint >> 32) AND seq > (:after::bigint & 4294967295) AND seq <= (:to::bigint & 4294967295)
ORDER BY seq DESC LIMIT :limit::bigint;

-- name: read_events_of_types
SELECT seq, at_ms, run, type, body FROM events
WHERE session = (:after::bigint >> 32) AND seq > (:after::bigint & 4294967295) AND seq <= (:to::bigint & 4294967295)
  AND type IN (SELECT jsonb_array_elements_text(:types::jsonb))
ORDER BY seq LIMIT :limit::bigint;

-- name: read_events_of_types_newest_first
SELECT seq, at_ms, run, type, body FROM events
WHERE session = (:after::bigint >> 32) AND seq > (:after::bigint & 4294967295) AND seq <= (:to::bigint & 4294967295)
  AND type IN (SELECT jsonb_array_elements_text(:types::jsonb))
ORDER BY seq DESC LIMIT :limit::bigint;

-- name: get_session
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels,
       CASE WHEN owner IS NULL OR lease_until <= clock_timestamp() THEN NULL WHEN owner_gone(owner) THEN NULL ELSE owner END AS driver,
       0, epoch, queued, actions, first_prompt, gate, (SELECT p.id FROM sessions p WHERE p.key = sessions.parent) AS above, origin
FROM sessions WHERE id = :id::text;

-- name: list_sessions
-- Activity grows with updated_ms, so its index yields the pages in order and only rows of one activity are sorted.
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels,
       CASE WHEN owner IS NULL OR lease_until <= clock_timestamp() THEN NULL WHEN owner_gone(owner) THEN NULL ELSE owner END AS driver,
       0, epoch, queued, actions, first_prompt, gate, (SELECT p.id FROM sessions p WHERE p.key = sessions.parent) AS above, origin
FROM sessions
WHERE activity <= :before_activity::bigint
  AND (updated_ms, id) < (:before_ms::bigint, :before_id::text)
  AND (:statuses::jsonb IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND (:workspace::text IS NULL OR workspace = :workspace::text)
  AND (:tenant::text IS NULL OR tenant = :tenant::text)
  AND (:archived::boolean OR status <> 'archived')
  AND (NOT :top_level::boolean OR parent IS NULL)
ORDER BY activity DESC, updated_ms DESC, id DESC
LIMIT :limit::bigint;

-- name: list_sessions_by_prefix
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels,
       CASE WHEN owner IS NULL OR lease_until <= clock_timestamp() THEN NULL WHEN owner_gone(owner) THEN NULL ELSE owner END AS driver,
       0, epoch, queued, actions, first_prompt, gate, (SELECT p.id FROM sessions p WHERE p.key = sessions.parent) AS above, origin
FROM sessions
WHERE id >= :prefix::text AND id < :prefix::text || chr(1114111)
  AND (updated_ms, id) < (:before_ms::bigint, :before_id::text)
  AND (:statuses::jsonb IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND (:workspace::text IS NULL OR workspace = :workspace::text)
  AND (:tenant::text IS NULL OR tenant = :tenant::text)
  AND (:archived::boolean OR status <> 'archived')
  AND (NOT :top_level::boolean OR parent IS NULL)
ORDER BY updated_ms DESC, id DESC
LIMIT :limit::bigint;

-- name: list_sessions_by_parent
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels,
       CASE WHEN owner IS NULL OR lease_until <= clock_timestamp() THEN NULL WHEN owner_gone(owner) THEN NULL ELSE owner END AS driver,
       0, epoch, queued, actions, first_prompt, gate, (SELECT p.id FROM sessions p WHERE p.key = sessions.parent) AS above, origin
FROM sessions
WHERE parent = (SELECT key FROM sessions p WHERE p.id = :parent::text)
  AND (:prefix::text IS NULL OR (id >= :prefix::text AND id < :prefix::text || chr(1114111)))
  AND (updated_ms, id) < (:before_ms::bigint, :before_id::text)
  AND (:statuses::jsonb IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND (:workspace::text IS NULL OR workspace = :workspace::text)
  AND (:tenant::text IS NULL OR tenant = :tenant::text)
  AND (:archived::boolean OR status <> 'archived')
ORDER BY updated_ms DESC, id DESC
LIMIT :limit::bigint;

-- name: page_sessions
-- The next query is its mirror. Change both.
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels,
       CASE WHEN owner IS NULL OR lease_until <= clock_timestamp() THEN NULL WHEN owner_gone(owner) THEN NULL ELSE owner END AS driver,
       0, epoch, queued, actions, first_prompt, gate, (SELECT p.id FROM sessions p WHERE p.key = sessions.parent) AS above, origin
FROM sessions
WHERE coalesce(tenant, '') = coalesce(:tenant::text, '')
  AND (created_ms, id) > (:at_ms::bigint, :at_id::text)
  AND (:from_ms::bigint IS NULL OR created_ms >= :from_ms::bigint) AND (:to_ms::bigint IS NULL OR created_ms <= :to_ms::bigint)
  AND (:statuses::jsonb IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND ((:agent::text IS NULL OR agent = :agent::text) AND (:agent_version::int IS NULL OR agent_version = :agent_version::int)
       OR left(agent, length(:variants::text)) = :variants::text)
  AND (:archived::boolean OR status <> 'archived')
  AND (NOT :top_level::boolean OR parent IS NULL)
ORDER BY created_ms, id
LIMIT :limit::bigint;

-- name: page_sessions_newest_first
-- The mirror of the one before.
SELECT id, status, head, created_ms, updated_ms, agent, agent_version, workspace, name, labels,
       CASE WHEN owner IS NULL OR lease_until <= clock_timestamp() THEN NULL WHEN owner_gone(owner) THEN NULL ELSE owner END AS driver,
       0, epoch, queued, actions, first_prompt, gate, (SELECT p.id FROM sessions p WHERE p.key = sessions.parent) AS above, origin
FROM sessions
WHERE coalesce(tenant, '') = coalesce(:tenant::text, '')
  AND (created_ms, id) < (:at_ms::bigint, :at_id::text)
  AND (:from_ms::bigint IS NULL OR created_ms >= :from_ms::bigint) AND (:to_ms::bigint IS NULL OR created_ms <= :to_ms::bigint)
  AND (:statuses::jsonb IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND ((:agent::text IS NULL OR agent = :agent::text) AND (:agent_version::int IS NULL OR agent_version = :agent_version::int)
       OR left(agent, length(:variants::text)) = :variants::text)
  AND (:archived::boolean OR status <> 'archived')
  AND (NOT :top_level::boolean OR parent IS NULL)
ORDER BY created_ms DESC, id DESC
LIMIT :limit::bigint;

-- name: count_sessions
SELECT status, count(*) FROM sessions GROUP BY status;

-- name: count_working
-- A session that was made and not used is queued as well.
SELECT count(*) FROM sessions
WHERE status IN ('running', 'retrying', 'queued') AND coalesce(tenant, '') = coalesce(?::text, '')
  AND (status <> 'queued' OR queued > 0 OR first_prompt <> '');

-- name: count_open_runs
SELECT status, count(*) FROM sessions
WHERE status IN ('running', 'retrying', 'waiting', 'queued') AND (status <> 'queued' OR queued > 0 OR first_prompt <> '')
GROUP BY status;

-- name: lease
SELECT key, epoch, owner,
       owner IS NOT NULL AND lease_until > clock_timestamp() AND NOT owner_gone(owner)
FROM sessions WHERE id = ?::text FOR UPDATE;

-- name: claim
UPDATE sessions SET epoch = :epoch::int, owner = :owner::text, lease_until = clock_timestamp() + make_interval(secs => :ttl_s::float8)
WHERE key = :key::bigint;

-- name: renew
UPDATE sessions SET lease_until = clock_timestamp() + make_interval(secs => :ttl_s::float8)
WHERE id = :id::text AND epoch = :epoch::int AND owner = :owner::text;

-- name: release
UPDATE sessions SET owner = NULL, lease_until = '-infinity'
WHERE id = :id::text AND epoch = :epoch::int AND owner = :owner::text;

-- name: sign_of_life
INSERT INTO processes (token, seen) VALUES (:token::text, clock_timestamp())
ON CONFLICT (token) DO UPDATE SET seen = excluded.seen;

-- name: hold_process
-- Waits while a connection that was lost without the server's knowing still has it.
SELECT pg_try_advisory_lock(process_lock(:token::text));

-- name: end_process
DELETE FROM processes WHERE token = :token::text;

-- name: end_processes
-- Those of whom there was no sign of life for long.
DELETE FROM processes WHERE seen < clock_timestamp() - interval '1 day' AND process_gone(token);

-- name: owner_gone
SELECT owner_gone(:owner::text);

-- name: other_processes
SELECT token FROM processes WHERE token <> :token::text AND NOT process_gone(token);

-- name: delete_events
DELETE FROM events WHERE session = :session::bigint;

-- name: delete_keys
DELETE FROM idempotency_keys WHERE session = ?::bigint;

-- name: delete_snapshot
DELETE FROM snapshots WHERE session = ?::bigint;

-- name: delete_artifacts
-- Those no other session uses.
DELETE FROM artifacts WHERE ref IN (SELECT ref FROM artifact_uses WHERE session = :session::bigint)
  AND NOT EXISTS (SELECT 1 FROM artifact_uses u
                  WHERE u.ref = artifacts.ref AND u.session <> :session::bigint AND u.released_ms IS NULL);

-- name: delete_artifact_uses
DELETE FROM artifact_uses WHERE session = ?::bigint;

-- name: delete_session
DELETE FROM sessions WHERE key = ?::bigint;

-- name: put_snapshot
-- A slow writer does not replace a newer one.
INSERT INTO snapshots AS n (session, seq, version, state) VALUES (:session::bigint, :seq::int, :version::int, :state::bytea)
ON CONFLICT (session) DO UPDATE SET seq = excluded.seq, version = excluded.version, state = excluded.state
WHERE excluded.seq >= n.seq OR excluded.version <> n.version;

-- name: get_snapshot
SELECT n.seq, n.version, n.state FROM sessions s LEFT JOIN snapshots n ON n.session = s.key WHERE s.id = ?::text;

-- name: newest_agent
SELECT version, spec FROM agents WHERE name = ?::text ORDER BY version DESC LIMIT 1;

-- name: get_agent
SELECT version, spec FROM agents WHERE name = ?::text AND version = ?::int;

-- name: insert_agent
INSERT INTO agents (name, version, spec) VALUES (?::text, ?::int, ?::text);

-- name: list_agents
SELECT name, max(version) FROM agents GROUP BY name ORDER BY name;

-- name: list_agent_versions
SELECT name, version FROM agents WHERE name = ?::text ORDER BY version;

-- name: find_artifact
SELECT ref, size, media_type FROM artifacts WHERE ref = ?::text;

-- name: insert_artifact
INSERT INTO artifacts (ref, size, media_type, content) VALUES (?::text, ?::bigint, ?::text, ?::bytea);

-- name: use_artifact
-- Stored again, it is as young as a new one.
INSERT INTO artifact_uses (session, ref, place, stored_ms)
VALUES (:session::bigint, :ref::text, nextval('artifact_places'), :now::bigint)
ON CONFLICT (session, ref) DO UPDATE SET place = excluded.place, stored_ms = excluded.stored_ms, released_ms = NULL;

-- name: held_artifacts
SELECT u.ref, a.size, a.media_type, u.pinned, u.stored_ms
FROM sessions s JOIN artifact_uses u ON u.session = s.key JOIN artifacts a ON a.ref = u.ref
WHERE s.id = ?::text AND u.released_ms IS NULL ORDER BY u.place;

-- name: artifact_use
SELECT pinned, released_ms FROM artifact_uses WHERE session = ?::bigint AND ref = ?::text;

-- name: pin_artifact
UPDATE artifact_uses SET pinned = :pinned::int WHERE session = :session::bigint AND ref = :ref::text;

-- name: artifact_released
SELECT max(released_ms) FROM artifact_uses WHERE ref = ?::text;

-- name: artifact_totals
SELECT count(*), coalesce(sum(size), 0)::bigint FROM artifacts;

-- name: oldest_artifact_uses
-- Of the whole store, those whose content nobody has pinned.
SELECT u.session, u.ref, a.size FROM artifact_uses u JOIN artifacts a ON a.ref = u.ref
WHERE u.released_ms IS NULL
  AND NOT EXISTS (SELECT 1 FROM artifact_uses p WHERE p.ref = u.ref AND p.pinned = 1 AND p.released_ms IS NULL)
ORDER BY u.place LIMIT 64;

-- name: release_artifact
UPDATE artifact_uses SET released_ms = :now::bigint, pinned = 0 WHERE session = :session::bigint AND ref = :ref::text;

-- name: delete_unused_artifact
DELETE FROM artifacts WHERE ref = :ref::text
  AND NOT EXISTS (SELECT 1 FROM artifact_uses u WHERE u.ref = :ref::text AND u.released_ms IS NULL);

-- name: get_artifact
SELECT ref, size, media_type, content FROM artifacts WHERE ref = ?::text;

-- name: save_rule
INSERT INTO saved_rules AS r (tenant, workspace, rule, verdict, saved_ms)
VALUES (?::text, ?::text, ?::text, ?::text, ?::bigint)
ON CONFLICT (tenant, workspace, rule) DO UPDATE SET verdict = excluded.verdict, saved_ms = excluded.saved_ms
WHERE r.verdict <> excluded.verdict;

-- name: list_rules
SELECT verdict, rule, saved_ms FROM saved_rules WHERE tenant = ?::text AND workspace = ?::text ORDER BY saved_ms, rule;

-- name: delete_rule
DELETE FROM saved_rules WHERE tenant = ?::text AND workspace = ?::text AND rule = ?::text;

-- name: document_revision
-- Within a transaction that puts or removes it.
SELECT key, revision, created_ms, expires_ms, archived_ms FROM documents
WHERE tenant = :tenant::text AND kind = :kind::text AND id = :id::text FOR UPDATE;

-- name: insert_document
INSERT INTO documents (tenant, kind, id, revision, created_ms, updated_ms, archived_ms, expires_ms, body, session)
VALUES (:tenant::text, :kind::text, :id::text, :revision::int, :created_ms::bigint, :updated_ms::bigint, :archived_ms::bigint,
        :expires_ms::bigint, :body::bytea, :session::text)
RETURNING key;

-- name: update_document
UPDATE documents
SET revision = :revision::int, updated_ms = :updated_ms::bigint, archived_ms = :archived_ms::bigint,
    expires_ms = :expires_ms::bigint, body = :body::bytea, session = :session::text
WHERE tenant = :tenant::text AND kind = :kind::text AND id = :id::text;

-- name: insert_document_key
INSERT INTO document_keys (kind, name, value, tenant, document, "only")
VALUES (:kind::text, :name::text, :value::text, :tenant::text, :document::bigint, :only::int);

-- name: document_bytes
-- Kind by kind, so that those left out, which may be most of all, are not walked over.
WITH RECURSIVE kinds (kind) AS (
  SELECT min(kind) FROM documents WHERE tenant = :tenant::text
  UNION ALL
  SELECT (SELECT min(d.kind) FROM documents d WHERE d.tenant = :tenant::text AND d.kind > k.kind)
  FROM kinds k WHERE k.kind IS NOT NULL
)
SELECT coalesce(sum(length(d.body) + coalesce(length(c.content), 0)), 0)::bigint
FROM kinds k JOIN documents d ON d.tenant = :tenant::text AND d.kind = k.kind
LEFT JOIN document_contents c ON c.document = d.key
WHERE k.kind NOT IN (SELECT jsonb_array_elements_text(:leave_out::jsonb));

-- name: count_documents
SELECT count(*) FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.kind = :kind::text AND k.name = :key::text AND (d.expires_ms IS NULL OR d.expires_ms > :now::bigint);

-- name: unique_holder
SELECT d.id FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.tenant = :tenant::text AND k.kind = :kind::text AND k.name = :name::text AND k.value = :value::text AND k."only" = 1;

-- name: put_document_content
INSERT INTO document_contents (document, content)
SELECT key, :content::bytea FROM documents WHERE tenant = :tenant::text AND kind = :kind::text AND id = :id::text
ON CONFLICT (document) DO UPDATE SET content = excluded.content;

-- name: get_document
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_agg(json_build_array(name, value, "only" = 1))::text FROM document_keys WHERE document = documents.key)
FROM documents
WHERE tenant = :tenant::text AND kind = :kind::text AND id = :id::text AND (expires_ms IS NULL OR expires_ms > :now::bigint);

-- name: get_document_content
SELECT (SELECT content FROM document_contents WHERE document = documents.key) FROM documents
WHERE tenant = :tenant::text AND kind = :kind::text AND id = :id::text AND (expires_ms IS NULL OR expires_ms > :now::bigint);

-- name: find_document
SELECT d.kind, d.id, d.body, d.tenant, d.revision, d.created_ms, d.updated_ms, d.archived_ms, d.expires_ms, d.session,
       (SELECT json_agg(json_build_array(name, value, "only" = 1))::text FROM document_keys WHERE document = d.key)
FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.kind = :kind::text AND k.name = :key::text AND k.value = :value::text
  AND (d.expires_ms IS NULL OR d.expires_ms > :now::bigint)
ORDER BY d.key LIMIT 1;

-- name: find_documents
SELECT d.kind, d.id, d.body, d.tenant, d.revision, d.created_ms, d.updated_ms, d.archived_ms, d.expires_ms, d.session,
       (SELECT json_agg(json_build_array(name, value, "only" = 1))::text FROM document_keys WHERE document = d.key)
FROM document_keys k JOIN documents d ON d.key = k.document
WHERE k.kind = :kind::text AND k.name = :key::text AND k.value = :value::text
  AND (d.expires_ms IS NULL OR d.expires_ms > :now::bigint) AND (d.created_ms, d.id) > (:at_ms::bigint, :at_id::text)
ORDER BY d.created_ms, d.id LIMIT :limit::bigint;

-- name: list_documents
-- Twice, like `page_sessions`. Change both.
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_agg(json_build_array(name, value, "only" = 1))::text FROM document_keys WHERE document = documents.key)
FROM documents
WHERE tenant = :tenant::text AND kind = :kind::text AND (created_ms, id) > (:at_ms::bigint, :at_id::text)
  AND (expires_ms IS NULL OR expires_ms > :now::bigint)
  AND (:from_ms::bigint IS NULL OR created_ms >= :from_ms::bigint) AND (:to_ms::bigint IS NULL OR created_ms <= :to_ms::bigint)
  AND (:archived::boolean IS NULL OR (archived_ms IS NOT NULL) = :archived::boolean)
  AND (:keys::jsonb IS NULL OR key IN (
    SELECT k.document FROM jsonb_array_elements(:keys::jsonb) AS w (pair)
    JOIN document_keys k ON k.kind = :kind::text AND k.tenant = :tenant::text
      AND k.name = w.pair ->> 0 AND k.value = w.pair ->> 1
    GROUP BY k.document HAVING count(*) = :count::int))
ORDER BY created_ms, id
LIMIT :limit::bigint;

-- name: list_documents_newest_first
-- The mirror of the one before.
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_agg(json_build_array(name, value, "only" = 1))::text FROM document_keys WHERE document = documents.key)
FROM documents
WHERE tenant = :tenant::text AND kind = :kind::text AND (created_ms, id) < (:at_ms::bigint, :at_id::text)
  AND (expires_ms IS NULL OR expires_ms > :now::bigint)
  AND (:from_ms::bigint IS NULL OR created_ms >= :from_ms::bigint) AND (:to_ms::bigint IS NULL OR created_ms <= :to_ms::bigint)
  AND (:archived::boolean IS NULL OR (archived_ms IS NOT NULL) = :archived::boolean)
  AND (:keys::jsonb IS NULL OR key IN (
    SELECT k.document FROM jsonb_array_elements(:keys::jsonb) AS w (pair)
    JOIN document_keys k ON k.kind = :kind::text AND k.tenant = :tenant::text
      AND k.name = w.pair ->> 0 AND k.value = w.pair ->> 1
    GROUP BY k.document HAVING count(*) = :count::int))
ORDER BY created_ms DESC, id DESC
LIMIT :limit::bigint;

-- name: expired_documents
SELECT tenant, kind, id FROM documents WHERE expires_ms IS NOT NULL AND expires_ms <= ?::bigint;

-- name: documents_of_session
SELECT tenant, kind, id FROM documents WHERE session = ?::text;

-- name: stray_documents
SELECT kind, id, body, tenant, revision, created_ms, updated_ms, archived_ms, expires_ms, session,
       (SELECT json_agg(json_build_array(name, value, "only" = 1))::text FROM document_keys WHERE document = documents.key)
FROM documents
WHERE session IS NOT NULL AND created_ms < :before_ms::bigint
  AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = documents.session)
ORDER BY key LIMIT :limit::bigint;

-- name: document_keys
SELECT name, value FROM document_keys WHERE document = ?::bigint AND "only" = 0;

-- name: delete_document_keys
DELETE FROM document_keys WHERE document = ?::bigint;

-- name: delete_document_content
DELETE FROM document_contents WHERE document = ?::bigint;

-- name: delete_document
DELETE FROM documents WHERE key = ?::bigint;

-- name: begin_part
SAVEPOINT part;

-- name: undo_part
ROLLBACK TO part;

-- name: end_part
RELEASE part;

-- name: delete_feed_types
DELETE FROM feed_types;

-- name: insert_feed_type
INSERT INTO feed_types (type) VALUES (?::text);

-- name: feed_head
-- Also when all of it was trimmed.
SELECT position FROM feed_head;

-- name: read_feed
SELECT position, type, subject, tenant, seq, at_ms, body FROM feed WHERE position > :after::bigint
ORDER BY position LIMIT :limit::bigint;

-- name: trim_feed
DELETE FROM feed WHERE position <= ?::bigint;

-- name: begin_load
INSERT INTO loads (key, owner) VALUES (nextval('session_keys'), ?::text) RETURNING key;

-- name: end_load
DELETE FROM loads WHERE key = ?::bigint;

-- name: loads
SELECT key, owner FROM loads;

-- name: stale_texts
SELECT key, id, head, searched FROM sessions WHERE stale = 1 ORDER BY key LIMIT ?::bigint;

-- name: texts_between
SELECT (session << 32) | seq, type, body FROM events
WHERE session = (:after::bigint >> 32) AND seq > (:after::bigint & 4294967295) AND seq <= (:to::bigint & 4294967295)
  AND type IN ('user.message', 'agent.message');

-- name: insert_texts
INSERT INTO texts (session, seq, words)
SELECT position >> 32, (position & 4294967295)::int, words::tsvector
FROM unnest(:positions::bigint[], :words::text[]) AS n (position, words)
ON CONFLICT (session, seq) DO UPDATE SET words = excluded.words;

-- name: text_at
SELECT type, body FROM events WHERE session = ($1::bigint >> 32) AND seq = ($1::bigint & 4294967295);

-- name: session_name
SELECT name FROM sessions WHERE key = ?::bigint AND name IS NOT NULL;

-- name: drop_text
DELETE FROM texts WHERE session = ($1::bigint >> 32) AND seq = ($1::bigint & 4294967295);

-- name: searched
-- What was appended since is still to be taken in.
UPDATE sessions SET searched = :seq::int, stale = CASE WHEN :stale::int = 1 OR head > :seq::int THEN 1 ELSE 0 END
WHERE key = :key::bigint;

-- name: delete_texts
DELETE FROM texts WHERE session = :session::bigint;

-- name: search
SELECT s.id, (t.session << 32) | t.seq, s.name, -ts_rank(t.words, q)::float8, coalesce(e.at_ms, s.updated_ms),
       CASE e.type WHEN 'user.message' THEN 'user' WHEN 'agent.message' THEN 'agent' ELSE 'name' END
FROM CAST(:query::text AS tsquery) AS q, texts t JOIN sessions s ON s.key = t.session
LEFT JOIN events e ON e.session = t.session AND e.seq = t.seq
WHERE t.words @@ q
  AND (:every::boolean OR coalesce(s.tenant, '') = coalesce(:tenant::text, ''))
  AND (:workspace::text IS NULL OR s.workspace = :workspace::text)
ORDER BY 4, t.session DESC, t.seq DESC
LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: memory_places
-- The keys of those that there are, the first that was asked for first.
SELECT places.key, asked.number
FROM jsonb_array_elements(:places::jsonb) WITH ORDINALITY AS asked (place, number)
JOIN memory_places AS places ON places.tenant = asked.place ->> 0 AND places.scope = asked.place ->> 1
  AND places.owner = asked.place ->> 2
ORDER BY asked.number;

-- name: insert_memory_place
INSERT INTO memory_places (tenant, scope, owner) VALUES (?::text, ?::text, ?::text) ON CONFLICT DO NOTHING;

-- name: insert_memory
INSERT INTO memories (place, id, kind, content, importance, tags, metadata, session, created_ms, updated_ms)
VALUES (:place::bigint, :id::text, :kind::text, :content::text, :importance::float8, :tags::text, :metadata::text,
        :session::text, :now::bigint, :now::bigint)
RETURNING key;

-- name: update_memory
UPDATE memories SET kind = :kind::text, content = :content::text, importance = :importance::float8, tags = :tags::text,
  metadata = :metadata::text, session = :session::text, updated_ms = :now::bigint
WHERE key = :key::bigint;

-- name: insert_memory_words
INSERT INTO memory_words (memory, place, words) VALUES (?::bigint, ?::text, CAST(?::text AS tsvector));

-- name: delete_memory_words
DELETE FROM memory_words WHERE memory = ?::bigint;

-- name: delete_memory_vector
DELETE FROM memory_vectors WHERE memory = ?::bigint;

-- name: delete_memory
DELETE FROM memories WHERE key = ?::bigint;

-- name: put_memory_vector
INSERT INTO memory_vectors (memory, embedder, vector) VALUES (?::bigint, ?::text, ?::bytea)
ON CONFLICT (memory) DO UPDATE SET embedder = excluded.embedder, vector = excluded.vector;

-- name: memory_key
SELECT key, updated_ms FROM memories WHERE place = ?::bigint AND id = ?::text;

-- name: memories_by_key
SELECT memories.key, tenant, scope, owner, id, kind, content, importance, tags, metadata, session, created_ms, updated_ms,
  accessed_ms, accesses
FROM memories JOIN memory_places AS places ON places.key = memories.place
WHERE memories.key IN (SELECT value::bigint FROM jsonb_array_elements_text(:keys::jsonb));

-- name: search_memories
SELECT memory_words.memory, ts_rank(words, q)::float8 AS rank
FROM CAST(:query::jsonb ->> 'words' AS tsquery) AS q, memory_words JOIN memories ON memories.key = memory_words.memory
WHERE memory_words.place IN (SELECT jsonb_array_elements_text(:query::jsonb -> 'places')) AND words @@ q
  AND (:kinds::jsonb IS NULL OR kind IN (SELECT jsonb_array_elements_text(:kinds::jsonb)))
ORDER BY rank DESC LIMIT :limit::bigint;

-- name: memory_vectors
SELECT memories.key, vector FROM memories JOIN memory_vectors ON memory = memories.key
WHERE place IN (SELECT value::bigint FROM jsonb_array_elements_text(:places::jsonb)) AND embedder = :embedder::text
  AND (:kinds::jsonb IS NULL OR kind IN (SELECT jsonb_array_elements_text(:kinds::jsonb)))
ORDER BY updated_ms DESC LIMIT :limit::bigint;

-- name: vectors_of_memories
SELECT memory, vector FROM memory_vectors
WHERE memory IN (SELECT value::bigint FROM jsonb_array_elements_text(:keys::jsonb)) AND embedder = :embedder::text;

-- name: memories_without_vector
SELECT memories.key FROM memories LEFT JOIN memory_vectors ON memory = memories.key AND embedder = :embedder::text
WHERE place IN (SELECT value::bigint FROM jsonb_array_elements_text(:places::jsonb)) AND memory IS NULL
ORDER BY updated_ms DESC LIMIT :limit::bigint;

-- name: list_memories
SELECT memories.key FROM memories
WHERE place IN (SELECT value::bigint FROM jsonb_array_elements_text(:places::jsonb)) AND importance >= :least::float8
  AND (:kinds::jsonb IS NULL OR kind IN (SELECT jsonb_array_elements_text(:kinds::jsonb)))
  AND (:tags::jsonb IS NULL OR EXISTS
    (SELECT 1 FROM jsonb_array_elements_text(memories.tags::jsonb) AS has (tag)
     JOIN jsonb_array_elements_text(:tags::jsonb) AS wanted (tag) USING (tag)))
ORDER BY CASE WHEN :by_importance::boolean THEN importance ELSE 0 END DESC, updated_ms DESC, memories.key DESC
LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: touch_memory
UPDATE memories SET accessed_ms = ?::bigint, accesses = accesses + 1 WHERE place = ?::bigint AND id = ?::text;

-- name: count_memories
SELECT scope, kind, count(*) FROM memories JOIN memory_places AS places ON places.key = memories.place
WHERE place IN (SELECT value::bigint FROM jsonb_array_elements_text(:places::jsonb)) GROUP BY scope, kind;

-- name: keys_of_memories
SELECT key FROM memories WHERE place = ?::bigint;

-- name: old_memories
SELECT key FROM memories
WHERE place = :place::bigint
  AND greatest(updated_ms, coalesce(accessed_ms, 0)) < CASE kind WHEN 'working' THEN :working::bigint ELSE :old::bigint END
  AND (kind = 'working' OR importance < :least::float8);
