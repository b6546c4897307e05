-- Samples as integers of a fixed resolution: a tick is one row until its hour is full, then the hour is sealed into
-- compressed chunks. `src/server/metrics/sample.rs` has the columns, `chunk.rs` the form of a chunk.

-- A tick that is not sealed yet. `host` is an array of the host's columns, `vms` an object of arrays, by the VM's id.
-- CPU and other percents and loads are in hundredths, memory, swap and disk in hundredths of a MB, a VM's network in
-- KB since its boot, the host's in bytes per second, uptime in seconds. Unknown is null.
CREATE TABLE tick (
    sampled_at INTEGER PRIMARY KEY,
    host       TEXT NOT NULL,
    vms        TEXT NOT NULL
) STRICT;

-- An hour (counted since 1970) whose ticks are in chunks: the chunks of no other hour count.
CREATE TABLE sealed_hour (
    hour  INTEGER PRIMARY KEY,
    -- The times of its ticks, shared by all its chunks.
    ticks BLOB NOT NULL
) STRICT;

-- One column of one VM (0 is the host) for one hour. The id puts the oldest first, so that they are added at one
-- end and removed at the other.
CREATE TABLE chunk (
    id     INTEGER PRIMARY KEY,
    data   BLOB NOT NULL,
    hour   INTEGER GENERATED ALWAYS AS (id >> 40) VIRTUAL,
    vm_id  INTEGER GENERATED ALWAYS AS ((id >> 8) & 0xFFFFFFFF) VIRTUAL,
    column INTEGER GENERATED ALWAYS AS (id & 0xFF) VIRTUAL
) STRICT;

-- Asked for when a VM is destroyed: its samples go too. Set back once they are gone.
ALTER TABLE vm ADD COLUMN forget_samples INTEGER NOT NULL DEFAULT 0 CHECK (forget_samples IN (0, 1));

CREATE INDEX vm_sample_time ON vm_sample (sampled_at);
INSERT INTO tick (sampled_at, host, vms)
SELECT
    h.sampled_at,
    json_array(
        CAST(round(h.cpu_percent * 100) AS INTEGER),
        CAST(round(h.memory_percent * 100) AS INTEGER),
        CAST(round(h.memory_used_gb * 102400) AS INTEGER),
        CAST(round(h.disk_percent * 100) AS INTEGER),
        CAST(round(h.disk_used_gb * 102400) AS INTEGER),
        CAST(round(h.net_send_speed * 1048576) AS INTEGER),
        CAST(round(h.net_recv_speed * 1048576) AS INTEGER)
    ),
    coalesce(
        (
            SELECT json_group_object(
                CAST(v.vm_id AS TEXT),
                json_array(
                    CAST(round(v.cpu_percent * 100) AS INTEGER),
                    CAST(round(v.memory_used_mb * 100) AS INTEGER),
                    CASE WHEN v.memory_percent > 0
                        THEN CAST(round(v.memory_used_mb * 10000 / v.memory_percent) AS INTEGER) END,
                    CAST(round(v.disk_used_gb * 102400) AS INTEGER),
                    CASE WHEN v.disk_percent > 0
                        THEN CAST(round(v.disk_used_gb * 10240000 / v.disk_percent) AS INTEGER) END,
                    CAST(v.network_rx_mb * 1024 AS INTEGER),
                    CAST(v.network_tx_mb * 1024 AS INTEGER),
                    v.uptime_seconds,
                    (
                        (v.cpu_percent IS NOT NULL) + (v.memory_used_mb IS NOT NULL) * 8
                        + (v.disk_used_gb IS NOT NULL) * 64 + (v.network_rx_mb IS NOT NULL) * 512
                        + (v.uptime_seconds IS NOT NULL) * 4096
                    ) * coalesce((SELECT iif(provider = 'simulated', 3, 2) FROM installation), 2)
                )
            )
            FROM vm_sample v WHERE v.sampled_at = h.sampled_at
        ),
        '{}'
    )
FROM host_sample h;
DROP VIEW metric;
DROP TABLE vm_sample;
DROP TABLE host_sample;

-- The values of every tick that is not sealed yet, a row each: the last hour at least. `vm_id` is null for the host's.
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
