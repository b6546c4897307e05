use super::{Alert, CollectorHealth, Event, Sources, UtcMillis, VmStatus, VmUsage, VmView, rounded, utc};
use serde::{Deserialize, Serialize};

/// The metrics of the host in one tick. MB and GB are binary.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct HostUsage {
    /// 0 to 100, over all cores; `None` in the first tick.
    pub cpu_percent: Option<f64>,
    /// 0 to 100; reclaimable caches do not count as used.
    pub memory_percent: Option<f64>,
    /// In GB; reclaimable caches do not count as used.
    pub memory_used_gb: Option<f64>,
    /// Total memory in GB.
    pub memory_total_gb: Option<f64>,
    /// 0 to 100, of the file system that holds the data directory.
    pub disk_percent: Option<f64>,
    /// In GB, on the same file system.
    pub disk_used_gb: Option<f64>,
    /// The size of that file system in GB.
    pub disk_total_gb: Option<f64>,
    /// MB/s over all physical interfaces.
    pub net_send_speed: Option<f64>,
    /// MB/s over all physical interfaces.
    pub net_recv_speed: Option<f64>,
    /// 0 to 100; unknown without swap.
    #[serde(default)]
    pub swap_percent: Option<f64>,
    /// In GB; `None` without swap.
    #[serde(default)]
    pub swap_used_gb: Option<f64>,
    /// In GB; 0 without swap.
    #[serde(default)]
    pub swap_total_gb: Option<f64>,
    /// Processes that ran or waited to, on average over the last minute.
    #[serde(default)]
    pub load_1: Option<f64>,
    /// The same over 5 minutes.
    #[serde(default)]
    pub load_5: Option<f64>,
    /// The same over 15 minutes.
    #[serde(default)]
    pub load_15: Option<f64>,
    /// Logical cores; 0 if unknown.
    pub cpu_cores: u32,
}

/// The response of `GET /api/metrics/vm/{vm_id}`. Values have two decimals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmMetrics {
    /// The VM's id.
    pub vm_id: i64,
    /// The VM's name.
    pub vm_name: String,
    /// The VM's current status.
    pub vm_status: VmStatus,
    /// The VM's IP address; `None` while unknown.
    pub ip_address: Option<String>,
    /// Allocated memory in MB.
    pub ram_allocated_mb: u32,
    /// Allocated disk in GB.
    pub disk_allocated_gb: u32,
    /// Allocated virtual cores.
    pub cpu_allocated_cores: u32,
    /// 0 to 100: percent of the VM's cores.
    pub cpu_percent: Option<f64>,
    /// 0 to 100: percent of the memory the guest sees.
    pub memory_percent: Option<f64>,
    /// 0 to 100; see [`VmUsage::disk_percent`].
    pub disk_percent: Option<f64>,
    /// Memory in use, in MB.
    pub memory_used_mb: Option<f64>,
    /// Memory still available in the guest, in MB.
    pub memory_available_mb: Option<f64>,
    /// Disk space in use, in GB.
    pub disk_used_gb: Option<f64>,
    /// Free disk space, in GB.
    pub disk_available_gb: Option<f64>,
    /// 0 to 100; see [`VmUsage::image_percent`].
    #[serde(default)]
    pub image_percent: Option<f64>,
    /// See [`VmUsage::image_used_gb`].
    #[serde(default)]
    pub image_used_gb: Option<f64>,
    /// See [`VmUsage::image_available_gb`].
    #[serde(default)]
    pub image_available_gb: Option<f64>,
    /// MB received since the VM's boot, over all its interfaces.
    pub network_rx_mb: Option<f64>,
    /// MB sent since the VM's boot, over all its interfaces.
    pub network_tx_mb: Option<f64>,
    /// Seconds since the VM's last boot; 0 while it does not run.
    pub uptime_seconds: Option<u64>,
    /// The same in hours.
    pub uptime_hours: Option<f64>,
    /// The time of the sample.
    #[serde(with = "utc::rfc3339")]
    pub timestamp: UtcMillis,
    /// Where each group of metrics comes from.
    pub sources: Sources,
}

impl VmMetrics {
    /// Builds the response from a VM and the time of its sample.
    pub fn new(vm: &VmView, sampled_at: UtcMillis) -> Self {
        let f = &vm.usage;
        Self {
            vm_id: vm.id,
            vm_name: vm.name.clone(),
            vm_status: vm.status,
            ip_address: vm.ip_address.clone(),
            ram_allocated_mb: vm.spec.ram_mb,
            disk_allocated_gb: vm.spec.disk_gb,
            cpu_allocated_cores: vm.spec.cpu_cores,
            cpu_percent: f.cpu_percent.map(rounded),
            memory_percent: f.memory_percent.map(rounded),
            disk_percent: f.disk_percent.map(rounded),
            memory_used_mb: f.memory_used_mb.map(rounded),
            memory_available_mb: f.memory_available_mb.map(rounded),
            disk_used_gb: f.disk_used_gb.map(rounded),
            disk_available_gb: f.disk_available_gb.map(rounded),
            image_percent: f.image_percent.map(rounded),
            image_used_gb: f.image_used_gb.map(rounded),
            image_available_gb: f.image_available_gb.map(rounded),
            network_rx_mb: f.network_rx_mb.map(rounded),
            network_tx_mb: f.network_tx_mb.map(rounded),
            uptime_seconds: f.uptime_seconds,
            uptime_hours: f.uptime_seconds.map(|s| rounded(s as f64 / 3600.0)),
            timestamp: sampled_at,
            sources: f.sources,
        }
    }
}

/// The name and unit of a stored metric, and whether it is of VMs or of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name in the API, such as `vm_cpu_percent`.
    pub name: &'static str,
    /// `%`, `MB`, `GB`, `MB/s`, `seconds`, `load` or `cores`.
    pub unit: &'static str,
    /// Whether it is a metric of the host rather than of VMs.
    pub of_host: bool,
}

impl Metric {
    /// Every stored metric, those of VMs first.
    pub const ALL: [Self; 25] = [
        Self::of_vm("vm_cpu_percent", "%"),
        Self::of_vm("vm_memory_percent", "%"),
        Self::of_vm("vm_disk_percent", "%"),
        Self::of_vm("vm_memory_used_mb", "MB"),
        Self::of_vm("vm_disk_used_gb", "GB"),
        Self::of_vm("vm_network_rx_mb", "MB"),
        Self::of_vm("vm_network_tx_mb", "MB"),
        Self::of_vm("vm_uptime", "seconds"),
        Self::of_vm("vm_network_rx_mb_per_s", "MB/s"),
        Self::of_vm("vm_network_tx_mb_per_s", "MB/s"),
        Self::of_vm("vm_image_percent", "%"),
        Self::of_vm("vm_image_used_gb", "GB"),
        Self::of_host("host_cpu_percent", "%"),
        Self::of_host("host_memory_percent", "%"),
        Self::of_host("host_disk_percent", "%"),
        Self::of_host("host_memory_used_gb", "GB"),
        Self::of_host("host_disk_used_gb", "GB"),
        Self::of_host("host_net_send_speed", "MB/s"),
        Self::of_host("host_net_recv_speed", "MB/s"),
        Self::of_host("host_swap_percent", "%"),
        Self::of_host("host_swap_used_gb", "GB"),
        Self::of_host("host_load_1", "load"),
        Self::of_host("host_load_5", "load"),
        Self::of_host("host_load_15", "load"),
        Self::of_host("host_cpu_cores", "cores"),
    ];

    const fn of_vm(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, of_host: false }
    }

    const fn of_host(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, of_host: true }
    }

    /// A value as in responses: two decimals, and six for rates in MB/s: to the byte.
    pub fn rounded(self, value: f64) -> f64 {
        let factor = if self.unit == "MB/s" { 1_000_000.0 } else { 100.0 };
        (value * factor).round() / factor
    }

    /// The metric called `name`, of VMs or of the host.
    pub fn find(name: &str, of_host: bool) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name == name && m.of_host == of_host)
    }
}

/// A stored value and its time, or the mean of several with their extremes and the time of the last. A value of
/// `None` is a gap between its neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// In `unit`; `None` is a gap.
    pub value: Option<f64>,
    /// The unit of `value`, `min` and `max`; see [`Metric::unit`].
    pub unit: String,
    /// The time of the value, or of the last of several.
    #[serde(with = "utc::rfc3339")]
    pub timestamp: UtcMillis,
    /// The smallest of several values; `None` for a single value or a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest of several values; `None` for a single value or a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Stored values of one metric, newest first. `vm_id` is null for the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricHistory {
    /// The VM's id; `None` for the host.
    pub vm_id: Option<i64>,
    /// See [`Metric::name`].
    pub metric_name: String,
    /// The length of `data`.
    pub count: usize,
    /// The points, newest first.
    pub data: Vec<MetricPoint>,
}

/// One metric over a span of time, oldest first, with the requested number of points; all vectors have the length of
/// `at`. A point of `None` is a gap. `vm_id` is null for the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRange {
    /// The VM's id; `None` for the host.
    pub vm_id: Option<i64>,
    /// See [`Metric::name`].
    pub metric_name: String,
    /// The unit of all values; see [`Metric::unit`].
    pub unit: String,
    /// The time of each point's last value.
    pub at: Vec<UtcMillis>,
    /// The smallest value of each point.
    pub min: Vec<Option<f64>>,
    /// The mean of each point's values.
    pub mean: Vec<Option<f64>>,
    /// The largest value of each point.
    pub max: Vec<Option<f64>>,
}

/// Statistics of the known values of a metric in a time range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricStatistics {
    /// The number of known values.
    pub count: usize,
    /// The smallest value, in the metric's unit.
    pub min: f64,
    /// The mean of the values, in the metric's unit.
    pub mean: f64,
    /// The largest value, in the metric's unit.
    pub max: f64,
    /// The smallest value that at least 95 % of them do not exceed.
    pub p95: f64,
}

/// The charts of a VM or of the host in a time range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Charts {
    /// The start of the range.
    pub from: UtcMillis,
    /// The end of the range.
    pub to: UtcMillis,
    /// One per charted metric.
    pub ranges: Vec<MetricRange>,
    /// For each of `ranges`; `None` without known values.
    pub statistics: Vec<Option<MetricStatistics>>,
    /// The newest 200 events in the range, oldest first.
    pub events: Vec<Event>,
}

impl Charts {
    /// The range and statistics of a metric.
    pub fn of(&self, metric_name: &str) -> Option<(&MetricRange, Option<MetricStatistics>)> {
        let i = self.ranges.iter().position(|range| range.metric_name == metric_name)?;
        Some((&self.ranges[i], self.statistics.get(i).copied().flatten()))
    }
}

/// One VM's points, oldest first; all vectors have the length of `sampled_at`, but an optional one is empty while
/// nothing is known of it. Unknown is `None`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Series {
    /// The VM's id.
    pub vm_id: i64,
    /// The time of each point.
    pub sampled_at: Vec<UtcMillis>,
    /// 0 to 100: percent of the VM's cores.
    pub cpu_percent: Vec<Option<f64>>,
    /// 0 to 100: percent of the memory the guest sees.
    pub memory_percent: Vec<Option<f64>>,
    /// 0 to 100: of the guest's root file system.
    pub disk_percent: Vec<Option<f64>>,
    /// Optional. 0 to 100; see [`VmUsage::image_percent`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_percent: Vec<Option<f64>>,
    /// Received, in MB/s.
    pub network_rx_mb_per_s: Vec<Option<f64>>,
    /// Sent, in MB/s.
    pub network_tx_mb_per_s: Vec<Option<f64>>,
}

impl Series {
    /// Appends the points of `newer` that come after the last one, and drops points older than
    /// `keep_since`.
    pub fn append(&mut self, newer: &Series, keep_since: UtcMillis) {
        let last = self.sampled_at.last().copied();
        let new_from = newer.sampled_at.partition_point(|at| Some(*at) <= last);
        if self.image_percent.is_empty() && !newer.image_percent.is_empty() {
            self.image_percent.resize(self.sampled_at.len(), None);
        }
        self.sampled_at.extend_from_slice(&newer.sampled_at[new_from..]);
        let length = self.sampled_at.len();
        let old = self.sampled_at.partition_point(|at| *at < keep_since);
        self.sampled_at.drain(..old);
        for (own, new) in self.columns_mut().into_iter().zip(newer.columns()) {
            if new.len() == newer.sampled_at.len() {
                own.extend_from_slice(&new[new_from..]);
            } else if !own.is_empty() {
                own.resize(length, None);
            }
            own.drain(..old.min(own.len()));
        }
        self.drop_unknown_image();
    }

    /// Removes a first point without known values.
    pub fn drop_leading_gap(&mut self) {
        let is_gap = |column: &&Vec<Option<f64>>| column.first().is_none_or(Option::is_none);
        if !self.sampled_at.is_empty() && self.columns().iter().all(is_gap) {
            self.sampled_at.remove(0);
            for column in self.columns_mut().into_iter().filter(|column| !column.is_empty()) {
                column.remove(0);
            }
        }
    }

    /// Empties the column of the image if nothing is known of it.
    pub fn drop_unknown_image(&mut self) {
        if self.image_percent.iter().all(Option::is_none) {
            self.image_percent.clear();
        }
    }

    fn columns(&self) -> [&Vec<Option<f64>>; 6] {
        [
            &self.cpu_percent,
            &self.memory_percent,
            &self.disk_percent,
            &self.network_rx_mb_per_s,
            &self.network_tx_mb_per_s,
            &self.image_percent,
        ]
    }

    fn columns_mut(&mut self) -> [&mut Vec<Option<f64>>; 6] {
        [
            &mut self.cpu_percent,
            &mut self.memory_percent,
            &mut self.disk_percent,
            &mut self.network_rx_mb_per_s,
            &mut self.network_tx_mb_per_s,
            &mut self.image_percent,
        ]
    }
}

/// The response of a poll: the current state, and the points since a cursor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The time of the newest tick; pass it back to get only newer points.
    pub cursor: UtcMillis,
    /// The interval of ticks, in seconds.
    pub interval_secs: u32,
    /// Why there are no current metrics, if the hypervisor is not responding.
    pub trouble: Option<String>,
    /// The host's metrics in the newest tick.
    pub host: HostUsage,
    /// The version of the VMs without their metrics; pass it back with the cursor.
    #[serde(default)]
    pub version: String,
    /// Empty if only metrics have changed since the passed version.
    pub vms: Vec<VmView>,
    /// In that case, the metrics of each VM, in the same order as before.
    #[serde(default, rename = "figures")]
    pub usage: Vec<VmUsage>,
    /// The points after the passed cursor, one series per VM.
    pub series: Vec<Series>,
    /// All open alerts visible to the user, by severity and then newest first, regardless of the requested VMs.
    pub alerts: Vec<Alert>,
    /// The collector's health, for admins that request all VMs.
    pub collector: Option<CollectorHealth>,
}

impl Live {
    /// With the points of the last seconds before the newest tick.
    pub fn window(&self, secs: u32) -> (UtcMillis, UtcMillis) {
        (self.cursor.plus_secs(-i64::from(secs)), self.cursor)
    }

    /// The same for a client that has the VMs of `version`.
    #[must_use]
    pub fn beside(mut self, version: Option<&str>) -> Self {
        if version == Some(&self.version) {
            self.usage = std::mem::take(&mut self.vms).into_iter().map(|vm| vm.usage).collect();
        }
        self
    }

    /// The same with the VMs of `before`, if it came without.
    #[must_use]
    pub fn completed(mut self, before: &mut Vec<VmView>) -> Self {
        if self.usage.len() == before.len() && self.vms.is_empty() {
            self.vms = std::mem::take(before);
            for (vm, usage) in self.vms.iter_mut().zip(std::mem::take(&mut self.usage)) {
                vm.usage = usage;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ApiError, ErrorCode, Severity};

    fn series(times: &[i64]) -> Series {
        let values: Vec<_> = times.iter().map(|t| (t % 2 == 0).then_some(*t as f64)).collect();
        Series {
            vm_id: 1,
            sampled_at: times.iter().map(|t| UtcMillis(*t)).collect(),
            cpu_percent: values.clone(),
            memory_percent: values.clone(),
            disk_percent: values.clone(),
            image_percent: vec![],
            network_rx_mb_per_s: values.clone(),
            network_tx_mb_per_s: values,
        }
    }

    fn sent<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
    }

    #[test]
    fn a_poll_arrives_as_it_was_sent() {
        let mut live: Live = crate::components::feed::tests::live(900, &[1, 2], vec![series(&[1, 2])]);
        live.vms[0].usage.cpu_percent = Some(34.56);
        live.vms[0].usage.network_rx_mb = Some(1_234_567.89);
        live.vms[0].usage.network_rx_mb_per_s = Some(0.0103);
        live.vms[1].unexpected_stop_at = Some(UtcMillis(5));
        assert_eq!(sent(&live), live);
        let beside = live.clone().beside(Some(""));
        assert_eq!(sent(&beside), beside);
    }

    #[test]
    fn an_error_and_the_charts_arrive_as_they_were_sent() {
        let error: Result<(), ApiError> = Err(ApiError::new(ErrorCode::Conflict, "It runs already."));
        assert_eq!(sent(&error), error);
        let range = MetricRange {
            vm_id: Some(1),
            metric_name: "vm_cpu_percent".into(),
            unit: "%".into(),
            at: vec![UtcMillis(1_795_414_554_120), UtcMillis(1_795_414_559_120)],
            min: vec![Some(0.01), None],
            mean: vec![Some(34.5678), None],
            max: vec![Some(100.0), None],
        };
        let event = Event {
            id: 1,
            at: UtcMillis(-5),
            kind: "vm_launched".into(),
            severity: Severity::Warning,
            vm_id: None,
            vm_name: None,
            user: Some("ada".into()),
            text: "…".into(),
        };
        let charts = Charts {
            from: UtcMillis(0),
            to: UtcMillis(1),
            ranges: vec![range],
            statistics: vec![None],
            events: vec![event],
        };
        assert_eq!(sent(&charts), charts);
    }

    #[test]
    fn points_are_appended_once_and_old_ones_dropped() {
        let mut own = series(&[1, 2, 3]);
        own.append(&series(&[2, 3, 4, 5]), UtcMillis(2));
        assert_eq!(own, series(&[2, 3, 4, 5]));
    }

    #[test]
    fn an_image_that_becomes_known_or_unknown_keeps_the_points_together() {
        let with_image =
            |times: &[i64], image: &[Option<f64>]| Series { image_percent: image.to_vec(), ..series(times) };
        let mut own = series(&[1, 2]);
        own.append(&with_image(&[2, 3], &[Some(1.0), Some(2.0)]), UtcMillis(0));
        assert_eq!(own, with_image(&[1, 2, 3], &[None, None, Some(2.0)]));
        own.append(&series(&[4]), UtcMillis(2));
        assert_eq!(own, with_image(&[2, 3, 4], &[None, Some(2.0), None]));
        own.append(&series(&[5]), UtcMillis(4));
        assert_eq!(own, series(&[4, 5]), "nothing is known of it any more");
        own.append(&Series::default(), UtcMillis(9));
        assert_eq!(own, series(&[]));
    }

    #[test]
    fn the_names_of_the_contract_are_found_where_they_belong() {
        assert_eq!(Metric::find("vm_uptime", false).unwrap().unit, "seconds");
        assert_eq!(Metric::find("host_net_recv_speed", true).unwrap().unit, "MB/s");
        assert_eq!(Metric::find("host_cpu_percent", false), None);
        assert_eq!(Metric::find("vm_loudness", false), None);
    }
}
