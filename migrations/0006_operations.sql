-- More kinds of operations; one may wait behind the one that runs, and one that is open may be cancelled.
CREATE TABLE operation_new (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    vm_id               INTEGER NOT NULL REFERENCES vm (id),
    kind                TEXT NOT NULL CHECK (kind IN (
        'launch', 'start', 'stop', 'force_stop', 'restart', 'suspend', 'resume', 'destroy', 'resize',
        'snapshot_save', 'snapshot_restore', 'snapshot_delete'
    )),
    -- The snapshot it is about.
    snapshot            TEXT,
    state               TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    requested_by        INTEGER NOT NULL REFERENCES account (id),
    requested_at        INTEGER NOT NULL,
    -- Somebody asked to end it.
    cancel_requested_at INTEGER,
    finished_at         INTEGER,
    last_line           TEXT NOT NULL DEFAULT '',
    -- The first and the last part of what was printed, as far as it was written down.
    output              TEXT NOT NULL DEFAULT '',
    error               TEXT
) STRICT;
INSERT INTO operation_new (id, vm_id, kind, state, requested_by, requested_at, finished_at, last_line, output, error)
SELECT id, vm_id, kind, state, requested_by, requested_at, finished_at, last_line, output, error FROM operation;
DROP TABLE operation;
ALTER TABLE operation_new RENAME TO operation;
CREATE INDEX operation_vm ON operation (vm_id, id);
-- Of a VM's operations one runs, and one waits, at most.
CREATE UNIQUE INDEX operation_running ON operation (vm_id) WHERE state = 'running';
CREATE UNIQUE INDEX operation_queued ON operation (vm_id) WHERE state = 'queued';

-- What the next start gives the VM, if it is something else than it has.
ALTER TABLE vm ADD COLUMN next_ram_mb INTEGER CHECK (next_ram_mb > 0);
ALTER TABLE vm ADD COLUMN next_cpu_cores INTEGER CHECK (next_cpu_cores > 0);
ALTER TABLE vm ADD COLUMN next_disk_gb INTEGER CHECK (next_disk_gb > 0);
-- Whether it is started with the server.
ALTER TABLE vm ADD COLUMN auto_start INTEGER NOT NULL DEFAULT 0 CHECK (auto_start IN (0, 1));
-- When it is to be turned off, once.
ALTER TABLE vm ADD COLUMN stop_at INTEGER;
-- Not launched on anybody's account: it was there, or came with the simulated fleet.
ALTER TABLE vm ADD COLUMN is_free INTEGER NOT NULL DEFAULT 0 CHECK (is_free IN (0, 1));
UPDATE vm SET is_free = 1;

-- Files that were handed in at launch for the guest to run.
CREATE TABLE guest_setup (
    vm_id            INTEGER PRIMARY KEY REFERENCES vm (id),
    provision_script TEXT,
    user_data        TEXT
) STRICT;

-- What stood in a VM's Vagrantfile, each time it was another.
CREATE TABLE vagrantfile (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    vm_id   INTEGER NOT NULL REFERENCES vm (id),
    seen_at INTEGER NOT NULL,
    text    TEXT NOT NULL
) STRICT;
CREATE INDEX vagrantfile_vm ON vagrantfile (vm_id, id);

-- Every movement of credits; what an account may spend is the sum. Entries are never changed.
CREATE TABLE credit_entry (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   INTEGER NOT NULL REFERENCES account (id),
    at           INTEGER NOT NULL,
    -- A grant gives; a reserve sets aside; a capture makes that final, a release undoes it; a refund gives back what
    -- a destroyed VM had cost.
    kind         TEXT NOT NULL CHECK (kind IN ('grant', 'reserve', 'capture', 'release', 'refund')),
    -- What it changes of what the account may spend.
    amount       INTEGER NOT NULL CHECK (CASE kind
        WHEN 'grant' THEN 1 WHEN 'reserve' THEN amount < 0 WHEN 'capture' THEN amount = 0 ELSE amount > 0 END),
    vm_id        INTEGER REFERENCES vm (id),
    operation_id INTEGER REFERENCES operation (id),
    -- The reserve that a capture or release is of.
    reserve_id   INTEGER REFERENCES credit_entry (id),
    note         TEXT NOT NULL,
    CHECK ((reserve_id IS NOT NULL) = (kind IN ('capture', 'release')))
) STRICT;
CREATE INDEX credit_entry_account ON credit_entry (account_id, id);
CREATE INDEX credit_entry_vm ON credit_entry (vm_id, id);
-- A reserve is settled once.
CREATE UNIQUE INDEX credit_entry_settled ON credit_entry (reserve_id) WHERE reserve_id IS NOT NULL;
