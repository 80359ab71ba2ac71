-- Logs that are being loaded, so that nobody sees one before it is whole and what a crash left of one is found.

CREATE TABLE loads (
  key INTEGER PRIMARY KEY,
  owner TEXT NOT NULL
);
