-- How an account wants to be told of alerts. Without a row: not at all.
CREATE TABLE notification_setting (
    account_id     INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    webhook_url    TEXT,
    -- What its messages are signed with.
    webhook_secret BLOB CHECK (webhook_url IS NULL OR length(webhook_secret) = 32),
    email_is_on    INTEGER NOT NULL DEFAULT 0 CHECK (email_is_on IN (0, 1)),
    -- An admin's: of everybody's VMs, too.
    of_all         INTEGER NOT NULL DEFAULT 0 CHECK (of_all IN (0, 1))
) STRICT;

-- Messages that are to be sent, and those of the last days that were. Written with what they tell of, before anything
-- is sent.
CREATE TABLE notification (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL REFERENCES account (id),
    channel     TEXT NOT NULL CHECK (channel IN ('webhook', 'email')),
    kind        TEXT NOT NULL CHECK (kind IN ('raised', 'repeated', 'resolved', 'test')),
    -- None for a test.
    alert_id    INTEGER REFERENCES alert (id),
    text        TEXT NOT NULL,
    queued_at   INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    -- Dropped: there was no reason any more to send it.
    state       TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'failed', 'dropped')),
    finished_at INTEGER,
    -- Why the last attempt did not succeed.
    error       TEXT
) STRICT;
CREATE INDEX notification_due ON notification (due_at) WHERE state = 'queued';
CREATE INDEX notification_account ON notification (account_id, id);
CREATE INDEX notification_alert ON notification (alert_id);
