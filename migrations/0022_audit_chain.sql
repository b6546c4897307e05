-- Events are append-only, and each holds the hash of itself and of the one before it, so that a changed, removed or
-- moved row is found (server/events/chain.rs). Events from before this migration have none.
ALTER TABLE event ADD COLUMN address TEXT;
-- Of the session that requested it; it may have ended since.
ALTER TABLE event ADD COLUMN session_id INTEGER;
ALTER TABLE event ADD COLUMN request_id TEXT;
ALTER TABLE event ADD COLUMN hash BLOB CHECK (hash IS NULL OR length(hash) = 32);

-- The chain begins after the event of this id, whose hash this is: the last one before this migration, then the last one
-- that was deleted as expired.
CREATE TABLE event_anchor (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    event_id INTEGER NOT NULL,
    hash     BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO event_anchor (id, event_id, hash)
VALUES (1, (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'), zeroblob(32));

CREATE TRIGGER event_is_not_updated BEFORE UPDATE ON event
BEGIN
    SELECT RAISE(ABORT, 'events cannot be changed');
END;

CREATE TRIGGER event_is_not_deleted BEFORE DELETE ON event
WHEN OLD.id > (SELECT event_id FROM event_anchor)
BEGIN
    SELECT RAISE(ABORT, 'events cannot be deleted before they expire');
END;

CREATE TRIGGER event_anchor_follows_the_chain BEFORE UPDATE ON event_anchor
WHEN NEW.event_id <= OLD.event_id OR NEW.hash IS NOT (SELECT hash FROM event WHERE id = NEW.event_id)
BEGIN
    SELECT RAISE(ABORT, 'the anchor can only move to a later event');
END;

CREATE TRIGGER event_anchor_is_not_deleted BEFORE DELETE ON event_anchor
BEGIN
    SELECT RAISE(ABORT, 'the anchor cannot be deleted');
END;

-- REPLACE deletes without the triggers above.
CREATE TRIGGER event_is_not_replaced BEFORE INSERT ON event
WHEN EXISTS (SELECT 1 FROM event WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'events cannot be changed');
END;

CREATE TRIGGER event_anchor_is_not_replaced BEFORE INSERT ON event_anchor
BEGIN
    SELECT RAISE(ABORT, 'there is one anchor');
END;
