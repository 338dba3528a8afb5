-- A deletion writes less.

-- +goose Up

-- The tags that pointed to the digest of an entry and went with it, with spaces
-- between them, as far as that was known when the entry was made. Others are in
-- trash_tags.
ALTER TABLE trash ADD COLUMN tags TEXT NOT NULL DEFAULT '';

-- Numbers of entries grow as their ticks do, so the oldest is the first.
DROP INDEX trash_deleted;
