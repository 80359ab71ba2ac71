-- Permission rules that a person's answers have left behind.

CREATE TABLE saved_rules (
  tenant TEXT NOT NULL,                     -- '' for none
  workspace TEXT NOT NULL,                  -- the folder they hold in, '' for sessions without one
  rule TEXT NOT NULL,
  verdict TEXT NOT NULL,                    -- allow, ask or deny
  saved_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, workspace, rule)
) WITHOUT ROWID;
