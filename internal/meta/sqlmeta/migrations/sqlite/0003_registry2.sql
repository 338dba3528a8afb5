-- Living together with a registry:2 that used this data directory, and may use it
-- again: what is remembered of the links in its tree.

-- +goose Up

-- One row: how far its tree has been taken over, see meta.TreeState.
CREATE TABLE tree (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    state TEXT    NOT NULL
);
INSERT INTO tree (id, state) VALUES (1, '');

-- The links as they were last read or written.
CREATE TABLE links (
    repo_id  BIGINT   NOT NULL REFERENCES repos (id),
    kind     SMALLINT NOT NULL, -- see meta.LinkKind
    name     TEXT     NOT NULL, -- a tag, else a digest
    target   TEXT     NOT NULL, -- a digest; empty: there was no link
    next     TEXT,              -- what it was about to become; empty: to be removed
    mtime_ns BIGINT   NOT NULL, -- nanoseconds since 1970
    held     SMALLINT NOT NULL, -- 1: registry:2's own bytes; the membership is not collected
    PRIMARY KEY (repo_id, kind, name)
) WITHOUT ROWID;

-- Links that may not be as the records say.
CREATE TABLE unwritten (
    repo_id BIGINT   NOT NULL REFERENCES repos (id),
    kind    SMALLINT NOT NULL,
    name    TEXT     NOT NULL,
    version BIGINT   NOT NULL, -- grows with each change
    PRIMARY KEY (repo_id, kind, name)
) WITHOUT ROWID;
