-- Importing a machine is an operation. The references of credit entries to operations are checked at the end of the
-- transaction, when every operation is back under its id.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE operation_kept AS SELECT * FROM operation;
DROP TABLE operation;
CREATE TABLE operation (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    vm_id               INTEGER NOT NULL REFERENCES vm (id),
    kind                TEXT NOT NULL CHECK (kind IN (
        'launch', 'start', 'stop', 'force_stop', 'restart', 'suspend', 'resume', 'destroy', 'resize',
        'snapshot_save', 'snapshot_restore', 'snapshot_delete', 'import'
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
INSERT INTO operation (id, vm_id, kind, snapshot, state, requested_by, requested_at, cancel_requested_at, finished_at,
                       last_line, output, error)
SELECT id, vm_id, kind, snapshot, state, requested_by, requested_at, cancel_requested_at, finished_at,
       last_line, output, error
FROM operation_kept;
DROP TABLE operation_kept;
CREATE INDEX operation_vm ON operation (vm_id, id);
-- Of a VM's operations one runs, and one waits, at most.
CREATE UNIQUE INDEX operation_running ON operation (vm_id) WHERE state = 'running';
CREATE UNIQUE INDEX operation_queued ON operation (vm_id) WHERE state = 'queued';
