-- What has been wrong for a while, by a rule's name; `vm_id` is null for the host's. Open until `resolved_at`.
CREATE TABLE alert (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    vm_id          INTEGER REFERENCES vm (id),
    rule           TEXT NOT NULL,
    metric         TEXT NOT NULL CHECK (metric IN ('cpu', 'memory', 'disk', 'figures')),
    severity       TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    -- Percent; null where the rule is about having figures at all.
    threshold      REAL,
    raised_value   REAL,
    raised_at      INTEGER NOT NULL,
    resolved_at    INTEGER CHECK (resolved_at >= raised_at),
    resolved_value REAL
) STRICT;
CREATE INDEX alert_vm ON alert (vm_id, id);
-- Nothing is told twice while it is open.
CREATE UNIQUE INDEX alert_open ON alert (rule, ifnull(vm_id, 0)) WHERE resolved_at IS NULL;
