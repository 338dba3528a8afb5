-- When manifests were used last.

-- +goose Up

-- Of manifests that were pulled, pushed again or asked about since Berth notes
-- it. A row goes with its manifest. Times are 0 for never.
CREATE TABLE pulls (
    manifest_id INTEGER PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
    pulled_us   BIGINT  NOT NULL,
    pushed_us   BIGINT  NOT NULL, -- pushed again as it is, which changes nothing else
    seen_us     BIGINT  NOT NULL  -- a client that may be about to refer to it was told that it is there
);

-- One row: since when pulls have been noted without a gap. It is made when the
-- database is opened for the first time.
CREATE TABLE pulls_since (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    since_us BIGINT  NOT NULL
);
