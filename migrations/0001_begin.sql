-- Times are milliseconds since 1970 UTC. Ids are never reused, so that an old link never shows another's thing.

-- What this file belongs to: one row.
CREATE TABLE installation (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    provider TEXT NOT NULL CHECK (provider IN ('vagrant', 'simulated'))
) STRICT;

CREATE TABLE account (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    username      TEXT NOT NULL COLLATE NOCASE,
    email         TEXT NOT NULL COLLATE NOCASE,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    is_active     INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_at    INTEGER NOT NULL,
    CONSTRAINT account_username UNIQUE (username),
    CONSTRAINT account_email UNIQUE (email)
) STRICT;

-- A signed-in browser or another client. Only the token's SHA-256 is here.
CREATE TABLE session (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    token_hash   BLOB NOT NULL UNIQUE,
    carrier      TEXT NOT NULL CHECK (carrier IN ('cookie', 'bearer')),
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX session_account ON session (account_id);

CREATE TABLE vm (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id     INTEGER NOT NULL REFERENCES account (id),
    name         TEXT NOT NULL,
    image        TEXT NOT NULL,
    os_type      TEXT NOT NULL,
    vagrant_box  TEXT NOT NULL,
    box_url      TEXT,
    ram_mb       INTEGER NOT NULL CHECK (ram_mb > 0),
    cpu_cores    INTEGER NOT NULL CHECK (cpu_cores > 0),
    disk_gb      INTEGER NOT NULL CHECK (disk_gb > 0),
    status       TEXT NOT NULL CHECK
        (status IN ('pending', 'running', 'stopped', 'suspended', 'failed', 'not_created', 'unknown')),
    problem      TEXT,
    ip_address   TEXT,
    domain_uuid  TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- Its history stays until it is too old; a destroyed VM is seen by nobody.
    destroyed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX vm_name_per_owner ON vm (owner_id, name) WHERE destroyed_at IS NULL;

-- Written before anything runs, so that a restart finishes what was begun.
CREATE TABLE operation (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    vm_id        INTEGER NOT NULL REFERENCES vm (id),
    kind         TEXT NOT NULL CHECK (kind IN ('launch', 'start', 'stop', 'destroy')),
    state        TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    requested_by INTEGER NOT NULL REFERENCES account (id),
    requested_at INTEGER NOT NULL,
    finished_at  INTEGER,
    last_line    TEXT NOT NULL DEFAULT '',
    output       TEXT NOT NULL DEFAULT '',
    error        TEXT
) STRICT;
CREATE INDEX operation_vm ON operation (vm_id, id);
-- A VM has one open operation at most.
CREATE UNIQUE INDEX operation_open ON operation (vm_id) WHERE state IN ('queued', 'running');

CREATE TABLE event (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    vm_id    INTEGER REFERENCES vm (id),
    text     TEXT NOT NULL
) STRICT;
CREATE INDEX event_vm ON event (vm_id, id);

-- One row per VM and tick; a figure that is not known is null.
CREATE TABLE vm_sample (
    vm_id               INTEGER NOT NULL REFERENCES vm (id),
    sampled_at          INTEGER NOT NULL,
    cpu_percent         REAL,
    memory_percent      REAL,
    disk_percent        REAL,
    memory_used_mb      REAL,
    disk_used_gb        REAL,
    network_rx_mb       REAL,
    network_tx_mb       REAL,
    network_rx_mb_per_s REAL,
    network_tx_mb_per_s REAL,
    uptime_seconds      INTEGER,
    PRIMARY KEY (vm_id, sampled_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE host_sample (
    sampled_at     INTEGER PRIMARY KEY,
    cpu_percent    REAL,
    memory_percent REAL,
    disk_percent   REAL,
    memory_used_gb REAL,
    disk_used_gb   REAL,
    net_send_speed REAL,
    net_recv_speed REAL
) STRICT;

-- Every stored value as a row: `vm_id` is null for the host's.
CREATE VIEW metric (vm_id, name, value, unit, timestamp) AS
SELECT vm_id, 'vm_cpu_percent', cpu_percent, '%', sampled_at FROM vm_sample WHERE cpu_percent IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_memory_percent', memory_percent, '%', sampled_at FROM vm_sample WHERE memory_percent IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_disk_percent', disk_percent, '%', sampled_at FROM vm_sample WHERE disk_percent IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_memory_used_mb', memory_used_mb, 'MB', sampled_at FROM vm_sample WHERE memory_used_mb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_disk_used_gb', disk_used_gb, 'GB', sampled_at FROM vm_sample WHERE disk_used_gb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_network_rx_mb', network_rx_mb, 'MB', sampled_at FROM vm_sample WHERE network_rx_mb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_network_tx_mb', network_tx_mb, 'MB', sampled_at FROM vm_sample WHERE network_tx_mb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_uptime', uptime_seconds, 'seconds', sampled_at FROM vm_sample WHERE uptime_seconds IS NOT NULL
UNION ALL
SELECT NULL, 'host_cpu_percent', cpu_percent, '%', sampled_at FROM host_sample WHERE cpu_percent IS NOT NULL
UNION ALL
SELECT NULL, 'host_memory_percent', memory_percent, '%', sampled_at FROM host_sample WHERE memory_percent IS NOT NULL
UNION ALL
SELECT NULL, 'host_disk_percent', disk_percent, '%', sampled_at FROM host_sample WHERE disk_percent IS NOT NULL
UNION ALL
SELECT NULL, 'host_memory_used_gb', memory_used_gb, 'GB', sampled_at FROM host_sample WHERE memory_used_gb IS NOT NULL
UNION ALL
SELECT NULL, 'host_disk_used_gb', disk_used_gb, 'GB', sampled_at FROM host_sample WHERE disk_used_gb IS NOT NULL
UNION ALL
SELECT NULL, 'host_net_send_speed', net_send_speed, 'MB/s', sampled_at FROM host_sample WHERE net_send_speed IS NOT NULL
UNION ALL
SELECT NULL, 'host_net_recv_speed', net_recv_speed, 'MB/s', sampled_at FROM host_sample WHERE net_recv_speed IS NOT NULL;
