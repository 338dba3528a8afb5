-- The outbox of events, and how far its readers are.

-- +goose Up

-- What happened: the outbox. A number is never used twice, so that a cursor
-- never points to something newer than it has seen.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL, -- a UUID
    ticks      BIGINT  NOT NULL, -- when it was recorded, for how long it is kept
    time_us    BIGINT  NOT NULL, -- when it happened
    action     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    repo       TEXT    NOT NULL, -- its name
    from_repo  TEXT    NOT NULL, -- of a mount, else empty
    digest     TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    size       BIGINT  NOT NULL,
    tag        TEXT    NOT NULL,
    by_name    TEXT    NOT NULL, -- empty is the anonymous
    by_addr    TEXT    NOT NULL,
    by_host    TEXT    NOT NULL,
    by_method  TEXT    NOT NULL,
    by_agent   TEXT    NOT NULL,
    by_request TEXT    NOT NULL,
    by_base    TEXT    NOT NULL,
    by_via     TEXT    NOT NULL  -- who checked the name, if not the registry
);

-- Who reads it, and how far they are. Without readers no events are recorded.
CREATE TABLE event_readers (
    name TEXT     NOT NULL PRIMARY KEY,
    seq  BIGINT   NOT NULL, -- of the last event that was delivered
    need SMALLINT NOT NULL  -- meta.Need
) WITHOUT ROWID;
