-- Changes are durable as records of a file beside the database, before the
-- transaction that they are in is committed.

-- +goose Up

-- One row: whose records hold changes of this database, and the number of the
-- last one whose changes are in it.
CREATE TABLE redo (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    run BIGINT  NOT NULL, -- chosen at random whenever the file is begun anew; 0: nobody's
    seq BIGINT  NOT NULL
);
INSERT INTO redo (id, run, seq) VALUES (1, 0, 0);
