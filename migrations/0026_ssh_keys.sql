-- Public keys with which users sign in to the ssh gateway. A key says whose connection it is, so it belongs to one account.
CREATE TABLE ssh_key (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name         TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    algorithm    TEXT NOT NULL,
    -- SHA256:… as OpenSSH prints it.
    fingerprint  TEXT NOT NULL CONSTRAINT ssh_key_fingerprint UNIQUE,
    -- In OpenSSH's form, without a comment.
    public_key   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;

CREATE INDEX ssh_key_account ON ssh_key (account_id);
