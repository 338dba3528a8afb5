-- The records of a registry. Times that end in _us are wall-clock microseconds
-- since 1970, for people; ticks are nanoseconds that the registry has been
-- running over its whole life, for grace. Flags are 0 or 1. Names, tags, digests
-- and keys sort by their bytes (PostgreSQL will need COLLATE "C" for that).

-- +goose Up

-- "BRTH": lets us refuse a database that is another program's.
PRAGMA application_id = 1112691784;

-- A repository exists from the first thing that was put into it, for ever.
CREATE TABLE repos (
    id         INTEGER  PRIMARY KEY,
    name       TEXT     NOT NULL UNIQUE,
    listed     SMALLINT NOT NULL, -- whether it has a manifest
    created_us BIGINT   NOT NULL
);
CREATE INDEX repos_listed ON repos (name) WHERE listed = 1;

-- The bytes that at least one repository has. Several may share a key: a file
-- taken over from elsewhere, under a sha256 and a sha512 digest.
CREATE TABLE blobs (
    digest     TEXT     NOT NULL PRIMARY KEY,
    key        TEXT     NOT NULL,
    size       BIGINT   NOT NULL,
    damaged    SMALLINT NOT NULL,
    created_us BIGINT   NOT NULL
) WITHOUT ROWID;
CREATE INDEX blobs_key ON blobs (key);

-- Which repository has which blob. A candidate may have no manifest that needs
-- it: the collector looks at it once touched is older than the grace.
CREATE TABLE repo_blobs (
    repo_id   BIGINT   NOT NULL REFERENCES repos (id),
    digest    TEXT     NOT NULL REFERENCES blobs (digest),
    touched   BIGINT   NOT NULL, -- ticks
    candidate SMALLINT NOT NULL,
    PRIMARY KEY (repo_id, digest)
) WITHOUT ROWID;
CREATE INDEX repo_blobs_digest ON repo_blobs (digest);
CREATE INDEX repo_blobs_candidates ON repo_blobs (touched) WHERE candidate = 1;

-- The body stands last so that reading the rest does not read it.
CREATE TABLE manifests (
    id            INTEGER PRIMARY KEY,
    repo_id       BIGINT  NOT NULL REFERENCES repos (id),
    digest        TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size          BIGINT  NOT NULL,
    subject       TEXT    NOT NULL, -- a digest, or empty
    artifact_type TEXT    NOT NULL,
    pushed_us     BIGINT  NOT NULL,
    pushed_by     TEXT    NOT NULL,
    annotations   TEXT    NOT NULL, -- a JSON object, or empty; only with a subject
    body          BLOB    NOT NULL,
    UNIQUE (repo_id, digest)
);
CREATE INDEX manifests_subject ON manifests (repo_id, subject, digest) WHERE subject <> '';
CREATE INDEX manifests_subject_type ON manifests (repo_id, subject, artifact_type, digest) WHERE subject <> '';

-- What a manifest needs: blobs and manifests, whether they are there or not. A
-- subject is not a need.
CREATE TABLE manifest_refs (
    repo_id     BIGINT NOT NULL,
    digest      TEXT   NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests (id),
    PRIMARY KEY (repo_id, digest, manifest_id)
) WITHOUT ROWID;
CREATE INDEX manifest_refs_manifest ON manifest_refs (manifest_id);

-- The digest is the manifest's, here once more so that a page of tags is read
-- from one place.
CREATE TABLE tags (
    repo_id     BIGINT NOT NULL REFERENCES repos (id),
    name        TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests (id),
    moved_us    BIGINT NOT NULL,
    moved_by    TEXT   NOT NULL,
    PRIMARY KEY (repo_id, name)
) WITHOUT ROWID;
CREATE INDEX tags_manifest ON tags (manifest_id);

-- What a repository had and lost: tombstones of blobs and manifests.
CREATE TABLE losses (
    repo_id BIGINT NOT NULL REFERENCES repos (id),
    digest  TEXT   NOT NULL,
    lost    BIGINT NOT NULL, -- ticks
    PRIMARY KEY (repo_id, digest)
) WITHOUT ROWID;
CREATE INDEX losses_lost ON losses (lost);

-- Keys of objects that nothing needs any more.
CREATE TABLE garbage (
    key TEXT   NOT NULL PRIMARY KEY,
    due BIGINT NOT NULL -- ticks from which on the object may be deleted
) WITHOUT ROWID;
CREATE INDEX garbage_due ON garbage (due);

CREATE TABLE uploads (
    id         TEXT   NOT NULL PRIMARY KEY,
    repo_id    BIGINT NOT NULL REFERENCES repos (id),
    owner      TEXT   NOT NULL, -- empty is the anonymous
    key        TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    algorithm  TEXT   NOT NULL,
    hash       BLOB,
    state      BLOB,
    version    BIGINT NOT NULL,
    started_us BIGINT NOT NULL,
    saved      BIGINT NOT NULL -- ticks
) WITHOUT ROWID;
CREATE INDEX uploads_saved ON uploads (saved);
CREATE INDEX uploads_key ON uploads (key);

-- One row: the ticks when they were last saved.
CREATE TABLE clock (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    ticks BIGINT  NOT NULL
);
INSERT INTO clock (id, ticks) VALUES (1, 0);
