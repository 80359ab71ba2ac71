-- What happens in all sessions and to documents, for who follows all of it.

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
