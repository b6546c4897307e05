-- Links that admins hand out. Of their tokens only the SHA-256 is here, and a link that was used or revoked is deleted.

-- By which somebody creates an account.
CREATE TABLE invitation (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash BLOB NOT NULL UNIQUE,
    role       TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    credits    INTEGER NOT NULL CHECK (credits BETWEEN 0 AND 1000000000),
    -- For whom it is, as its admin remembers it.
    note       TEXT NOT NULL,
    created_by INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX invitation_created_by ON invitation (created_by);

-- By which a user sets a new password: one per account.
CREATE TABLE password_link (
    account_id INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    created_by INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- A link ends with what allowed it, whichever program changes that.
CREATE TRIGGER account_is_no_admin AFTER UPDATE OF role, is_active ON account
WHEN NEW.role <> 'admin' OR NEW.is_active = 0
BEGIN
    DELETE FROM invitation WHERE created_by = NEW.id;
    DELETE FROM password_link WHERE created_by = NEW.id;
END;
CREATE TRIGGER account_is_deactivated AFTER UPDATE OF is_active ON account
WHEN NEW.is_active = 0
BEGIN
    DELETE FROM password_link WHERE account_id = NEW.id;
END;
CREATE TRIGGER account_has_another_password AFTER UPDATE OF password_hash ON account
BEGIN
    DELETE FROM password_link WHERE account_id = NEW.id;
END;
