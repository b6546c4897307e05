-- Who else may see or operate a VM. The rows of a destroyed VM are deleted with it.
CREATE TABLE vm_share (
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    account_id INTEGER NOT NULL REFERENCES account (id),
    access TEXT NOT NULL CHECK (access IN ('view', 'operate')),
    shared_by INTEGER NOT NULL REFERENCES account (id),
    shared_at INTEGER NOT NULL,
    PRIMARY KEY (vm_id, account_id)
) STRICT;

CREATE INDEX vm_share_account ON vm_share (account_id);
