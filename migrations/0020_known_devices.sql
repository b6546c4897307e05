-- A browser in which an account was signed in. Wrong passwords of others do not keep it from signing in again. Only the
-- SHA-256 of the token in its cookie is here.
CREATE TABLE known_device (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT known_device_token UNIQUE (account_id, token_hash)
) STRICT;
