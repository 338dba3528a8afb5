-- The trash: what was deleted and can be had back.

-- +goose Up

-- A repository whose trash is not 0 belongs to the entry of that number. It has
-- what that deletion took, and a name that nobody can ask for. A repository that
-- is removed was deleted as a whole: it counts as one again as soon as it has
-- something.
ALTER TABLE repos ADD COLUMN trash BIGINT NOT NULL DEFAULT 0;
ALTER TABLE repos ADD COLUMN removed SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX uploads_repo ON uploads (repo_id);
CREATE UNIQUE INDEX repos_trash ON repos (trash) WHERE trash <> 0;

-- Each row is one deletion. A number is never used twice, so that nobody undoes
-- another deletion than the one that was shown.
CREATE TABLE trash (
    id         INTEGER  PRIMARY KEY AUTOINCREMENT,
    kind       TEXT     NOT NULL, -- see meta.TrashKind
    reason     TEXT     NOT NULL, -- see meta.TrashReason
    repo       TEXT     NOT NULL, -- the name of the repository
    digest     TEXT     NOT NULL, -- of what was deleted, if that was one thing; else empty
    deleted    BIGINT   NOT NULL, -- ticks
    deleted_us BIGINT   NOT NULL,
    by_name    TEXT     NOT NULL,
    by_addr    TEXT     NOT NULL,
    by_via     TEXT     NOT NULL,
    dropped    SMALLINT NOT NULL  -- 1: it can't be had back, and is being taken apart
);
CREATE INDEX trash_repo ON trash (repo, id);
CREATE INDEX trash_repositories ON trash (repo) WHERE kind = 'repository';
CREATE INDEX trash_deleted ON trash (deleted);
CREATE INDEX trash_dropped ON trash (id) WHERE dropped = 1;

-- The tags that went with an entry, and what they pointed to. Those of a whole
-- repository are its own.
CREATE TABLE trash_tags (
    entry  BIGINT NOT NULL REFERENCES trash (id),
    name   TEXT   NOT NULL,
    digest TEXT   NOT NULL,
    PRIMARY KEY (entry, name)
) WITHOUT ROWID;

-- Repositories that went or came back as a whole and of which not all events are
-- recorded yet.
CREATE TABLE untold (
    repo_id BIGINT NOT NULL PRIMARY KEY REFERENCES repos (id),
    name    TEXT   NOT NULL, -- that it has or had
    action  TEXT   NOT NULL, -- of the events
    after   TEXT   NOT NULL, -- the digest of the last manifest that was told
    time_us BIGINT NOT NULL, -- when it happened
    actor   TEXT   NOT NULL  -- who did it, as JSON
) WITHOUT ROWID;
