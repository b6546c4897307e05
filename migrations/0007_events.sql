-- Who did it, or whose account it is about.
ALTER TABLE event ADD COLUMN account_id INTEGER REFERENCES account (id);
CREATE INDEX event_account ON event (account_id, id);
CREATE INDEX event_at ON event (at);
-- A session's device, as its browser calls itself.
ALTER TABLE session ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
