-- What tags pointed to, and who moved them.

-- +goose Up

-- One row for every tag that was made, moved or removed, and one with an empty
-- tag for what happened to the whole repository. It names the repository, so
-- that it outlives it. Newer rows have higher numbers.
CREATE TABLE tag_history (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    ticks   BIGINT  NOT NULL, -- when it was noted, for how long it is kept
    time_us BIGINT  NOT NULL, -- when it happened
    repo    TEXT    NOT NULL, -- its name
    tag     TEXT    NOT NULL, -- empty: the whole repository
    was     TEXT    NOT NULL, -- the digest that it pointed to; empty: it was not there
    now     TEXT    NOT NULL, -- the digest that it points to since; empty: it is gone
    cause   TEXT    NOT NULL, -- see meta.TagCause
    by_name TEXT    NOT NULL, -- empty is the anonymous
    by_via  TEXT    NOT NULL, -- who checked the name, if not the registry
    by_addr TEXT    NOT NULL
);
CREATE INDEX tag_history_tag ON tag_history (repo, tag);
CREATE INDEX tag_history_repo ON tag_history (repo);
