-- The database of a server of version 0.1.0, as Python's sqlite3 dumps it: an admin "ada" (password "correct horse
-- battery"), two simulated VMs, and 40 s of samples. scripts/test-package upgrades it.
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'begin','2026-11-27 21:21:54',1,X'4895899B3D204C3B462858B3AB660439EA4D5E34C98E02441F4CC17627960C5A86BA01CB556BC081F8A05DA9DEEE5B7C',7259908);
INSERT INTO "_sqlx_migrations" VALUES(2,'store','2026-11-27 21:21:54',1,X'44D40CB2582ABBE7CC23F30D499A41807A6FBAB1F98D8577BF602E5145DA134753D99E042A6BD98AF20D400B4297ABFC',4725037);
INSERT INTO "_sqlx_migrations" VALUES(3,'guest','2026-11-27 21:21:54',1,X'072C30BE054E858610947F110CCD66E5B94954B2576126AB120E8A53C21819BE4980D79B6B08E335EB1D6364EF6C5F67',889250);
INSERT INTO "_sqlx_migrations" VALUES(4,'alert','2026-11-27 21:21:54',1,X'84BF971D9B68FAB8F5B4811532377C078A8B942EFD1935832338D35E6EE3CCEE64B33DB6E4F133AE6223967E809AA49E',1212873);
INSERT INTO "_sqlx_migrations" VALUES(5,'adopted','2026-11-27 21:21:54',1,X'81E44D362E81853D6C32931B5A4F0144C2266080F81A25B5402D5120F730BEAF1691B881EF704C59CC187BD9641DC8A0',919646);
INSERT INTO "_sqlx_migrations" VALUES(6,'operations','2026-11-27 21:21:54',1,X'39ED334D214EAB40CE58A86380C29D7AF7BCAAF44817FF91C8DEEBC6EF88408E2DA848A0665307ED579F6E4CB056C53F',17340380);
INSERT INTO "_sqlx_migrations" VALUES(7,'events','2026-11-27 21:21:54',1,X'10C1C01F3D6DB89098E22DE81671EBC470BAAA8BAFAE3D677AB5D8F9EEE1542EF56DA5CB15A8B1A36362778AD5204D1E',4663693);
INSERT INTO "_sqlx_migrations" VALUES(8,'acknowledged','2026-11-27 21:21:54',1,X'BF35C8DF3888392E48A78A9B9DD27B56E6C6828001CAD765CE154BF924E0339E158635111AAAF8E0A5FE9EA3AD71F170',3727276);
INSERT INTO "_sqlx_migrations" VALUES(9,'rules','2026-11-27 21:21:54',1,X'E339582698DD04C3602AE72B55523A2CB79F5419DAD9A46DE2294829D50F62E24731941199D062BF097025F5A1BD6EE5',9589385);
INSERT INTO "_sqlx_migrations" VALUES(10,'notifications','2026-11-27 21:21:54',1,X'24DED78E1674FF7AB874032D69DD601706F0E3D3309E5F06AA3EBBEBF775C2B64A1177F957330F180E9B6D6CC0ABDE90',2264566);
INSERT INTO "_sqlx_migrations" VALUES(11,'acknowledged value','2026-11-27 21:21:54',1,X'3B80A3B315FE4CD9AF14BC2C6A1ABC61032831FFDAB1DA61817C82FF1F739808BDA63E1C2E766D8511B6A8BC821AD21B',2963060);
INSERT INTO "_sqlx_migrations" VALUES(12,'event doer','2026-11-27 21:21:54',1,X'339168AD24C022803D7F447229597F5CA95F9EE95E3EC0F4FD69073485939757A266E57E782723A10B076451B38DDA43',2742368);
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
INSERT INTO "account" VALUES(1,'ada','ada@localhost','$argon2id$v=19$m=19456,t=2,p=1$NLecIemL9pcVhejqCEcsLQ$4QdSzZCK8SED+LQTCWl0FHp1ap43nBdFHdA7Ef1n7hA','admin',1,1795814514760);
CREATE TABLE adopted (
    vm_id          INTEGER PRIMARY KEY REFERENCES vm (id),
    directory      TEXT NOT NULL,
    -- Null: the usual name.
    vagrantfile    TEXT,
    data_directory TEXT NOT NULL,
    machine        TEXT NOT NULL,
    provider       TEXT NOT NULL,
    -- Whether Vagrant's index, not the hypervisor, tells how it stands.
    is_indexed     INTEGER NOT NULL CHECK (is_indexed IN (0, 1)),
    CONSTRAINT adopted_once UNIQUE (data_directory, machine)
) STRICT;
CREATE TABLE "alert" (
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
, acknowledged_value REAL) STRICT;
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
INSERT INTO "alert_rule" VALUES(1,'host',NULL,NULL,'cpu','above',90.0,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(2,'host',NULL,NULL,'memory','above',85.0,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(3,'host',NULL,NULL,'disk','above',90.0,60,'error',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(4,'host',NULL,NULL,'swap','above',50.0,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(5,'every_vm',NULL,NULL,'cpu','above',90.0,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(6,'every_vm',NULL,NULL,'memory','above',85.0,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(7,'every_vm',NULL,NULL,'disk','above',90.0,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(8,'every_vm',NULL,NULL,'swap','above',50.0,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(9,'every_vm',NULL,NULL,'figures','above',NULL,60,'warning',NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO "alert_rule" VALUES(10,'every_vm',NULL,NULL,'stopped','above',NULL,60,'error',NULL,NULL,NULL,NULL,1,NULL,NULL);
CREATE TABLE chunk (
    id     INTEGER PRIMARY KEY,
    data   BLOB NOT NULL,
    hour   INTEGER GENERATED ALWAYS AS (id >> 40) VIRTUAL,
    vm_id  INTEGER GENERATED ALWAYS AS ((id >> 8) & 0xFFFFFFFF) VIRTUAL,
    column INTEGER GENERATED ALWAYS AS (id & 0xFF) VIRTUAL
) STRICT;
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
INSERT INTO "credit_entry" VALUES(1,1,1795814514760,'grant',1000,NULL,NULL,NULL,'granted with the account');
CREATE TABLE event (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    vm_id    INTEGER REFERENCES vm (id),
    text     TEXT NOT NULL
, account_id INTEGER REFERENCES account (id), done_by INTEGER REFERENCES account (id)) STRICT;
INSERT INTO "event" VALUES(1,1795814514761,'account_created','info',NULL,'The account ada was made, as admin.',1,NULL);
CREATE TABLE guest (
    vm_id         INTEGER PRIMARY KEY REFERENCES vm (id),
    domain_uuid   TEXT NOT NULL,
    host          TEXT NOT NULL,
    port          INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    user          TEXT NOT NULL,
    identity_file TEXT NOT NULL,
    -- In OpenSSH's form; null until the first contact.
    host_key      TEXT,
    -- Another key that was shown later, and when it was first seen: the guest is not read while it shows this one.
    refused_key   TEXT,
    refused_at    INTEGER
) STRICT;
CREATE TABLE guest_setup (
    vm_id            INTEGER PRIMARY KEY REFERENCES vm (id),
    provision_script TEXT,
    user_data        TEXT
) STRICT;
CREATE TABLE installation (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    provider TEXT NOT NULL CHECK (provider IN ('vagrant', 'simulated'))
) STRICT;
INSERT INTO "installation" VALUES(1,'simulated');
CREATE TABLE notification (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL REFERENCES account (id),
    channel     TEXT NOT NULL CHECK (channel IN ('webhook', 'email')),
    kind        TEXT NOT NULL CHECK (kind IN ('raised', 'repeated', 'resolved', 'test')),
    -- None for a test.
    alert_id    INTEGER REFERENCES alert (id),
    text        TEXT NOT NULL,
    queued_at   INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    -- Dropped: there was no reason any more to send it.
    state       TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'failed', 'dropped')),
    finished_at INTEGER,
    -- Why the last attempt did not succeed.
    error       TEXT
) STRICT;
CREATE TABLE notification_setting (
    account_id     INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    webhook_url    TEXT,
    -- What its messages are signed with.
    webhook_secret BLOB CHECK (webhook_url IS NULL OR length(webhook_secret) = 32),
    email_is_on    INTEGER NOT NULL DEFAULT 0 CHECK (email_is_on IN (0, 1)),
    -- An admin's: of everybody's VMs, too.
    of_all         INTEGER NOT NULL DEFAULT 0 CHECK (of_all IN (0, 1))
) STRICT;
CREATE TABLE "operation" (
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
CREATE TABLE sealed_hour (
    hour  INTEGER PRIMARY KEY,
    -- The times of its ticks, shared by all its chunks.
    ticks BLOB NOT NULL
) STRICT;
CREATE TABLE session (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    token_hash   BLOB NOT NULL UNIQUE,
    carrier      TEXT NOT NULL CHECK (carrier IN ('cookie', 'bearer')),
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL
, user_agent TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE tick (
    sampled_at INTEGER PRIMARY KEY,
    host       TEXT NOT NULL,
    vms        TEXT NOT NULL
) STRICT;
INSERT INTO "tick" VALUES(1795814515129,'[null,1713,413022,5262,4896757,null,null,null,null,1201,926,629,2]','{"1":[null,59084,397312,190620,819200,10,91,0,14040],"2":[null,63292,198656,235896,2048000,29,40,0,14040]}');
INSERT INTO "tick" VALUES(1795814520107,'[10000,1760,424239,5265,4898897,0,0,null,null,1201,931,632,2]','{"1":[1030,59178,397312,190620,819200,180,1955,5,14043],"2":[2533,63398,198656,235896,2048000,549,607,5,14043]}');
INSERT INTO "tick" VALUES(1795814525108,'[10000,1822,439284,5266,4899915,0,0,null,null,1217,939,636,2]','{"1":[875,59285,397312,190620,819200,464,5491,10,14043],"2":[2514,63608,198656,235896,2048000,1112,1304,10,14043]}');
INSERT INTO "tick" VALUES(1795814530108,'[10000,1805,435117,5267,4901208,0,0,null,null,1216,943,639,2]','{"1":[1309,59466,397312,190621,819200,714,8791,15,14043],"2":[2204,63776,198656,235896,2048000,1572,1760,15,14043]}');
INSERT INTO "tick" VALUES(1795814535107,'[10000,1786,430557,5268,4902459,0,0,null,null,1206,946,642,2]','{"1":[853,59599,397312,190621,819200,1095,12177,20,14043],"2":[3000,63997,198656,235896,2048000,1872,2479,20,14043]}');
INSERT INTO "tick" VALUES(1795814540108,'[10000,1824,439711,5269,4902955,0,0,null,null,1206,950,645,2]','{"1":[909,59783,397312,190621,819200,1382,13856,25,14043],"2":[2193,64136,198656,235896,2048000,2263,3392,25,14043]}');
INSERT INTO "tick" VALUES(1795814545110,'[10000,1379,332461,5270,4903668,0,0,null,null,1205,954,648,2]','{"1":[634,59901,397312,190621,819200,1609,16646,30,14043],"2":[1614,64244,198656,235896,2048000,2569,4164,30,14043]}');
INSERT INTO "tick" VALUES(1795814550108,'[10000,1496,360702,5270,4904279,0,0,null,null,1213,960,651,2]','{"1":[720,60012,397312,190622,819200,1843,19251,35,14043],"2":[1981,64398,198656,235896,2048000,3133,5036,35,14043]}');
CREATE TABLE vagrantfile (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    vm_id   INTEGER NOT NULL REFERENCES vm (id),
    seen_at INTEGER NOT NULL,
    text    TEXT NOT NULL
) STRICT;
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
, forget_samples INTEGER NOT NULL DEFAULT 0 CHECK (forget_samples IN (0, 1)), next_ram_mb INTEGER CHECK (next_ram_mb > 0), next_cpu_cores INTEGER CHECK (next_cpu_cores > 0), next_disk_gb INTEGER CHECK (next_disk_gb > 0), auto_start INTEGER NOT NULL DEFAULT 0 CHECK (auto_start IN (0, 1)), stop_at INTEGER, is_free INTEGER NOT NULL DEFAULT 0 CHECK (is_free IN (0, 1)), fell_at INTEGER) STRICT;
INSERT INTO "vm" VALUES(1,1,'web-1','alpine-3.23','Alpine 3.23','cloud-image/alpine-3.23',NULL,4096,1,8,'running',NULL,'10.77.31.97','636e2cda-ab11-4b37-8ecc-9a504df56262',1795814514866,1795814514866,NULL,0,NULL,NULL,NULL,0,NULL,1,NULL);
INSERT INTO "vm" VALUES(2,1,'db-main','debian-12','Debian 12','cloud-image/debian-12',NULL,2048,2,20,'running',NULL,'10.77.92.73','92c73244-2290-43dc-80dd-54dc9e22cd28',1795814514867,1795814514867,NULL,0,NULL,NULL,NULL,0,NULL,1,NULL);
CREATE INDEX session_account ON session (account_id);
CREATE UNIQUE INDEX vm_name_per_owner ON vm (owner_id, name) WHERE destroyed_at IS NULL;
CREATE INDEX event_vm ON event (vm_id, id);
CREATE VIEW metric (vm_id, name, value, unit, timestamp) AS
WITH vm_value AS (
    SELECT
        CAST(vm.key AS INTEGER) AS vm_id,
        sampled_at,
        (vm.value ->> 0) / 100.0 AS cpu_percent,
        (vm.value ->> 1) / 100.0 AS memory_used_mb,
        (vm.value ->> 2) / 100.0 AS memory_total_mb,
        (vm.value ->> 3) / 102400.0 AS disk_used_gb,
        (vm.value ->> 4) / 102400.0 AS disk_total_gb,
        (vm.value ->> 5) / 1024.0 AS network_rx_mb,
        (vm.value ->> 6) / 1024.0 AS network_tx_mb,
        vm.value ->> 7 AS uptime
    FROM tick, json_each(tick.vms) AS vm
)
SELECT vm_id, 'vm_cpu_percent', cpu_percent, '%', sampled_at FROM vm_value WHERE cpu_percent IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_memory_percent', 100 * memory_used_mb / memory_total_mb, '%', sampled_at FROM vm_value
WHERE memory_used_mb IS NOT NULL AND memory_total_mb > 0
UNION ALL
SELECT vm_id, 'vm_disk_percent', 100 * disk_used_gb / disk_total_gb, '%', sampled_at FROM vm_value
WHERE disk_used_gb IS NOT NULL AND disk_total_gb > 0
UNION ALL
SELECT vm_id, 'vm_memory_used_mb', memory_used_mb, 'MB', sampled_at FROM vm_value WHERE memory_used_mb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_disk_used_gb', disk_used_gb, 'GB', sampled_at FROM vm_value WHERE disk_used_gb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_network_rx_mb', network_rx_mb, 'MB', sampled_at FROM vm_value WHERE network_rx_mb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_network_tx_mb', network_tx_mb, 'MB', sampled_at FROM vm_value WHERE network_tx_mb IS NOT NULL
UNION ALL
SELECT vm_id, 'vm_uptime', uptime, 'seconds', sampled_at FROM vm_value WHERE uptime IS NOT NULL
UNION ALL
SELECT NULL, 'host_cpu_percent', (host ->> 0) / 100.0, '%', sampled_at FROM tick WHERE host ->> 0 IS NOT NULL
UNION ALL
SELECT NULL, 'host_memory_percent', (host ->> 1) / 100.0, '%', sampled_at FROM tick WHERE host ->> 1 IS NOT NULL
UNION ALL
SELECT NULL, 'host_memory_used_gb', (host ->> 2) / 102400.0, 'GB', sampled_at FROM tick WHERE host ->> 2 IS NOT NULL
UNION ALL
SELECT NULL, 'host_disk_percent', (host ->> 3) / 100.0, '%', sampled_at FROM tick WHERE host ->> 3 IS NOT NULL
UNION ALL
SELECT NULL, 'host_disk_used_gb', (host ->> 4) / 102400.0, 'GB', sampled_at FROM tick WHERE host ->> 4 IS NOT NULL
UNION ALL
SELECT NULL, 'host_net_send_speed', (host ->> 5) / 1048576.0, 'MB/s', sampled_at FROM tick
WHERE host ->> 5 IS NOT NULL
UNION ALL
SELECT NULL, 'host_net_recv_speed', (host ->> 6) / 1048576.0, 'MB/s', sampled_at FROM tick
WHERE host ->> 6 IS NOT NULL
UNION ALL
SELECT NULL, 'host_swap_percent', (host ->> 7) / 100.0, '%', sampled_at FROM tick WHERE host ->> 7 IS NOT NULL
UNION ALL
SELECT NULL, 'host_swap_used_gb', (host ->> 8) / 102400.0, 'GB', sampled_at FROM tick WHERE host ->> 8 IS NOT NULL
UNION ALL
SELECT NULL, 'host_load_1', (host ->> 9) / 100.0, 'load', sampled_at FROM tick WHERE host ->> 9 IS NOT NULL
UNION ALL
SELECT NULL, 'host_load_5', (host ->> 10) / 100.0, 'load', sampled_at FROM tick WHERE host ->> 10 IS NOT NULL
UNION ALL
SELECT NULL, 'host_load_15', (host ->> 11) / 100.0, 'load', sampled_at FROM tick WHERE host ->> 11 IS NOT NULL
UNION ALL
SELECT NULL, 'host_cpu_cores', host ->> 12, 'cores', sampled_at FROM tick WHERE host ->> 12 IS NOT NULL;
CREATE INDEX operation_vm ON operation (vm_id, id);
CREATE UNIQUE INDEX operation_running ON operation (vm_id) WHERE state = 'running';
CREATE UNIQUE INDEX operation_queued ON operation (vm_id) WHERE state = 'queued';
CREATE INDEX vagrantfile_vm ON vagrantfile (vm_id, id);
CREATE INDEX credit_entry_account ON credit_entry (account_id, id);
CREATE INDEX credit_entry_vm ON credit_entry (vm_id, id);
CREATE UNIQUE INDEX credit_entry_settled ON credit_entry (reserve_id) WHERE reserve_id IS NOT NULL;
CREATE INDEX event_account ON event (account_id, id);
CREATE INDEX event_at ON event (at);
CREATE INDEX alert_rule_in_force ON alert_rule (id) WHERE deleted_at IS NULL;
CREATE INDEX alert_vm ON alert (vm_id, id);
CREATE UNIQUE INDEX alert_open ON alert (rule_id, ifnull(vm_id, 0)) WHERE resolved_at IS NULL;
CREATE INDEX notification_due ON notification (due_at) WHERE state = 'queued';
CREATE INDEX notification_account ON notification (account_id, id);
CREATE INDEX notification_alert ON notification (alert_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('operation',0);
INSERT INTO "sqlite_sequence" VALUES('alert_rule',10);
INSERT INTO "sqlite_sequence" VALUES('alert',0);
INSERT INTO "sqlite_sequence" VALUES('account',1);
INSERT INTO "sqlite_sequence" VALUES('credit_entry',1);
INSERT INTO "sqlite_sequence" VALUES('event',1);
INSERT INTO "sqlite_sequence" VALUES('vm',2);
COMMIT;
