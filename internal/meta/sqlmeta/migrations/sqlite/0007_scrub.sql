-- What checks need to know.

-- +goose Up

-- 1: the repository did not have this when the manifest came, and that was
-- accepted; 0: it had it, so that it is lost if it is not there.
ALTER TABLE manifest_refs ADD COLUMN dangling SMALLINT NOT NULL DEFAULT 0;
UPDATE manifest_refs SET dangling = 1
    WHERE repo_id > 0 AND NOT EXISTS (SELECT 1 FROM repo_blobs b WHERE b.repo_id = manifest_refs.repo_id AND b.digest = manifest_refs.digest)
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = manifest_refs.repo_id AND m.digest = manifest_refs.digest)
    AND NOT EXISTS (SELECT 1 FROM losses l WHERE l.repo_id = manifest_refs.repo_id AND l.digest = manifest_refs.digest);

CREATE INDEX blobs_damaged ON blobs (digest) WHERE damaged = 1;

-- Manifests whose bytes were found to be wrong, until they are pushed again.
CREATE TABLE damaged_manifests (
    manifest_id BIGINT NOT NULL PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE
) WITHOUT ROWID;

-- One row: how far the reading of everything is.
CREATE TABLE scrub (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    cursor      TEXT   NOT NULL, -- the last digest that was read; empty: none
    began_us    BIGINT NOT NULL, -- this round; 0: there was none
    finished_us BIGINT NOT NULL, -- the last whole round; 0: there was none
    bytes       BIGINT NOT NULL, -- read in this round
    bad         BIGINT NOT NULL, -- found in this round
    unread      BIGINT NOT NULL  -- that could not be read in this round
);
INSERT INTO scrub (id, cursor, began_us, finished_us, bytes, bad, unread) VALUES (1, '', 0, 0, 0, 0, 0);
