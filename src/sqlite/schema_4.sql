-- A list in an index's condition is a table that is made for each row written.
DROP INDEX entries_stuck;
CREATE INDEX entries_stuck ON entries (vendor, account, kind, note) WHERE account > 1;
