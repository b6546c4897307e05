-- An account's e-mail address is sent mail only after its reader has confirmed it, with the link of a mail that asks for it.
ALTER TABLE account ADD COLUMN email_confirmed_at INTEGER;

-- Of the link's token only the SHA-256 is here. A newer link ends the former one.
CREATE TABLE email_confirmation (
    account_id INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TRIGGER account_has_another_email AFTER UPDATE OF email ON account
WHEN NEW.email <> OLD.email
BEGIN
    UPDATE account SET email_confirmed_at = NULL WHERE id = NEW.id;
    DELETE FROM email_confirmation WHERE account_id = NEW.id;
END;
CREATE TRIGGER account_with_a_link_is_deactivated AFTER UPDATE OF is_active ON account
WHEN NEW.is_active = 0
BEGIN
    DELETE FROM email_confirmation WHERE account_id = NEW.id;
END;

-- Mails of the last day, so that no mailbox gets too many.
CREATE TABLE sent_mail (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- An address without what makes no difference to its mail server.
    mailbox TEXT NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('confirm', 'alert')),
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX sent_mail_mailbox ON sent_mail (mailbox, kind, at);
CREATE INDEX sent_mail_at ON sent_mail (at);

-- Confirmations are messages, too.
CREATE TABLE notification_new (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL REFERENCES account (id),
    channel     TEXT NOT NULL CHECK (channel IN ('webhook', 'email')),
    kind        TEXT NOT NULL CHECK (kind IN ('raised', 'repeated', 'resolved', 'test', 'confirm')),
    -- None for a test and a confirmation.
    alert_id    INTEGER REFERENCES alert (id),
    text        TEXT NOT NULL,
    queued_at   INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    -- Dropped: there was no reason any more to send it.
    state       TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'failed', 'dropped')),
    finished_at INTEGER,
    -- Why the last attempt did not succeed, or why it is held back.
    error       TEXT,
    -- Waits because its mailbox has had too many; it goes out with the others that wait.
    is_held     INTEGER NOT NULL DEFAULT 0 CHECK (is_held IN (0, 1))
) STRICT;
INSERT INTO sqlite_sequence (name, seq)
SELECT 'notification_new', seq FROM sqlite_sequence WHERE name = 'notification';
INSERT INTO notification_new
    (id, account_id, channel, kind, alert_id, text, queued_at, due_at, attempts, state, finished_at, error)
SELECT id, account_id, channel, kind, alert_id, text, queued_at, due_at, attempts, state, finished_at, error
FROM notification;
DROP TABLE notification;
ALTER TABLE notification_new RENAME TO notification;
CREATE INDEX notification_due ON notification (due_at) WHERE state = 'queued';
CREATE INDEX notification_account ON notification (account_id, id);
CREATE INDEX notification_alert ON notification (alert_id);

-- Where mail is turned on, and has arrived in the last days, nothing changes.
UPDATE account SET email_confirmed_at = unixepoch() * 1000
WHERE id IN (SELECT account_id FROM notification_setting WHERE email_is_on)
  AND id IN (SELECT account_id FROM notification WHERE channel = 'email' AND state = 'sent');
-- Where it is turned on, and nothing has arrived yet, the address is asked once.
INSERT INTO notification (account_id, channel, kind, text, queued_at, due_at)
SELECT account.id, 'email', 'confirm', 'Confirm your e-mail address.', unixepoch() * 1000, unixepoch() * 1000
FROM account JOIN notification_setting AS setting ON setting.account_id = account.id
WHERE setting.email_is_on AND account.email_confirmed_at IS NULL AND account.is_active;
INSERT INTO sent_mail (mailbox, kind, at)
SELECT lower(account.email), 'confirm', notification.queued_at
FROM notification JOIN account ON account.id = notification.account_id WHERE notification.kind = 'confirm';
