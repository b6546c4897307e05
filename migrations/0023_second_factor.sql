-- A second factor at sign-in: the codes of an authenticator app (TOTP, RFC 6238), and recovery codes in their place.

CREATE TABLE second_factor (
    account_id INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    secret     BLOB NOT NULL CHECK (length(secret) = 20),
    -- The time step of the code that was accepted last: none is accepted twice.
    last_step  INTEGER NOT NULL
) STRICT;

-- Of each code only the SHA-256 is here; one that was used is deleted.
CREATE TABLE recovery_code (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES second_factor (account_id) ON DELETE CASCADE,
    code_hash  BLOB NOT NULL,
    CONSTRAINT recovery_code_hash UNIQUE (account_id, code_hash)
) STRICT;

-- A secret that counts as soon as its first code is entered. It then takes the place of an earlier one.
CREATE TABLE second_factor_setup (
    account_id INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    secret     BLOB NOT NULL CHECK (length(secret) = 20),
    begun_at   INTEGER NOT NULL
) STRICT;

-- What admins have decided for all accounts: one row.
CREATE TABLE account_policy (
    id                        INTEGER PRIMARY KEY CHECK (id = 1),
    admins_need_second_factor INTEGER NOT NULL CHECK (admins_need_second_factor IN (0, 1))
) STRICT;
INSERT INTO account_policy (id, admins_need_second_factor) VALUES (1, 0);

-- When its user entered the password last.
ALTER TABLE session ADD COLUMN authenticated_at INTEGER NOT NULL DEFAULT 0;
UPDATE session SET authenticated_at = created_at;
