-- What is watched, and when it is an alert.
CREATE TABLE alert_rule (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    scope             TEXT NOT NULL CHECK (scope IN ('host', 'every_vm', 'owner', 'vm')),
    owner_id          INTEGER REFERENCES account (id) CHECK ((owner_id IS NOT NULL) = (scope = 'owner')),
    vm_id             INTEGER REFERENCES vm (id) CHECK ((vm_id IS NOT NULL) = (scope = 'vm')),
    metric            TEXT NOT NULL CHECK (metric IN (
        'cpu', 'memory', 'disk', 'swap', 'network_down', 'network_up', 'load', 'figures', 'stopped'
    )),
    comparison        TEXT NOT NULL DEFAULT 'above' CHECK (comparison IN ('above', 'below')),
    -- In the metric's unit; null where the metric is no figure.
    threshold         REAL CHECK ((threshold IS NULL) = (metric IN ('figures', 'stopped'))),
    for_secs          INTEGER NOT NULL CHECK (for_secs >= 0),
    severity          TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    repeat_secs       INTEGER CHECK (repeat_secs > 0),
    -- Minutes since midnight, in the time zone of this name in the IANA database.
    quiet_from_minute INTEGER CHECK (quiet_from_minute BETWEEN 0 AND 1439),
    quiet_to_minute   INTEGER CHECK (quiet_to_minute BETWEEN 0 AND 1439),
    quiet_time_zone   TEXT,
    is_enabled        INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    -- Null for those that every server begins with.
    created_by        INTEGER REFERENCES account (id),
    -- A rule that is gone keeps its row: alerts name it.
    deleted_at        INTEGER
) STRICT;
CREATE INDEX alert_rule_in_force ON alert_rule (id) WHERE deleted_at IS NULL;

INSERT INTO alert_rule (scope, metric, threshold, for_secs, severity) VALUES
('host', 'cpu', 90, 60, 'warning'),
('host', 'memory', 85, 60, 'warning'),
-- A full disk of the host stops every VM on it.
('host', 'disk', 90, 60, 'error'),
('host', 'swap', 50, 60, 'warning'),
('every_vm', 'cpu', 90, 60, 'warning'),
('every_vm', 'memory', 85, 60, 'warning'),
('every_vm', 'disk', 90, 60, 'warning'),
('every_vm', 'swap', 50, 60, 'warning'),
('every_vm', 'figures', NULL, 60, 'warning'),
('every_vm', 'stopped', NULL, 60, 'error');

-- Alerts name their rule by its id, and say on which side of the threshold it was wrong.
CREATE TABLE alert_new (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    vm_id           INTEGER REFERENCES vm (id),
    rule_id         INTEGER NOT NULL REFERENCES alert_rule (id),
    metric          TEXT NOT NULL,
    comparison      TEXT NOT NULL DEFAULT 'above' CHECK (comparison IN ('above', 'below')),
    severity        TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    threshold       REAL,
    raised_value    REAL,
    raised_at       INTEGER NOT NULL,
    -- When people were last told of it.
    told_at         INTEGER NOT NULL,
    resolved_at     INTEGER CHECK (resolved_at >= raised_at),
    resolved_value  REAL,
    acknowledged_at INTEGER,
    acknowledged_by INTEGER REFERENCES account (id)
) STRICT;
INSERT INTO alert_new
    (id, vm_id, rule_id, metric, severity, threshold, raised_value, raised_at, told_at, resolved_at, resolved_value,
     acknowledged_at, acknowledged_by)
SELECT alert.id, alert.vm_id, alert_rule.id, alert.metric, alert.severity, alert.threshold, alert.raised_value,
       alert.raised_at, alert.raised_at, alert.resolved_at, alert.resolved_value, alert.acknowledged_at,
       alert.acknowledged_by
FROM alert
JOIN alert_rule ON alert_rule.metric = alert.metric
               AND alert_rule.scope = CASE WHEN alert.vm_id IS NULL THEN 'host' ELSE 'every_vm' END;
DROP TABLE alert;
ALTER TABLE alert_new RENAME TO alert;
CREATE INDEX alert_vm ON alert (vm_id, id);
-- Nothing is told twice while it is open.
CREATE UNIQUE INDEX alert_open ON alert (rule_id, ifnull(vm_id, 0)) WHERE resolved_at IS NULL;

-- When it stopped though nobody asked for that here; until it runs again, or somebody takes care of it.
ALTER TABLE vm ADD COLUMN fell_at INTEGER;
