-- A VM's traffic is stored in bytes (9 and 10), older samples have it in KB (5 and 6). The size of its images has columns
-- of its own (11 and 12); older samples have it in those of the file system (3 and 4), where the hypervisor (2) is the
-- source of the disk (bits 6 to 8 of 8). `src/server/metrics/sample.rs` has the columns. The view shows both.
DROP VIEW metric;
CREATE VIEW metric (vm_id, name, value, unit, timestamp) AS
WITH vm_value AS (
    SELECT
        CAST(vm.key AS INTEGER) AS vm_id,
        sampled_at,
        (vm.value ->> 0) / 100.0 AS cpu_percent,
        (vm.value ->> 1) / 100.0 AS memory_used_mb,
        (vm.value ->> 2) / 100.0 AS memory_total_mb,
        iif(((vm.value ->> 8) >> 6 & 7) = 2, NULL, (vm.value ->> 3) / 102400.0) AS disk_used_gb,
        (vm.value ->> 4) / 102400.0 AS disk_total_gb,
        coalesce(vm.value ->> 11, iif(((vm.value ->> 8) >> 6 & 7) = 2, vm.value ->> 3, NULL)) / 102400.0 AS image_used_gb,
        coalesce(vm.value ->> 12, vm.value ->> 4) / 102400.0 AS image_total_gb,
        coalesce((vm.value ->> 9) / 1048576.0, (vm.value ->> 5) / 1024.0) AS network_rx_mb,
        coalesce((vm.value ->> 10) / 1048576.0, (vm.value ->> 6) / 1024.0) AS network_tx_mb,
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
SELECT vm_id, 'vm_image_percent', 100 * image_used_gb / image_total_gb, '%', sampled_at FROM vm_value
WHERE image_used_gb IS NOT NULL AND image_total_gb > 0
UNION ALL
SELECT vm_id, 'vm_image_used_gb', image_used_gb, 'GB', sampled_at FROM vm_value WHERE image_used_gb IS NOT NULL
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
