-- Texts are kept as core.search_text folds them, so those that there are have to be taken in anew.

DELETE FROM texts;
UPDATE sessions SET searched = 0, stale = 1;
