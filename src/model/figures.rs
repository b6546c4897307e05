use serde::{Deserialize, Serialize};

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The guest itself said so.
    Guest,
    /// The hypervisor's counters.
    Hypervisor,
    /// Made by the simulated fleet.
    Simulated,
    /// It was known, but is too old to be shown as a figure.
    Stale,
    #[default]
    Unknown,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Hypervisor => "hypervisor",
            Self::Simulated => "simulated",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// The source of each group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sources {
    pub cpu: Source,
    pub memory: Source,
    pub disk: Source,
    pub network: Source,
    pub uptime: Source,
}

/// One tick's figures of one VM. Unknown is `None`, never zero. MB and GB are binary.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct VmFigures {
    /// 0 to 100: percent of the cores the VM was given.
    pub cpu_percent: Option<f64>,
    /// 0 to 100: percent of the memory the guest sees.
    pub memory_percent: Option<f64>,
    pub memory_used_mb: Option<f64>,
    pub memory_available_mb: Option<f64>,
    /// 0 to 100, as the guest says; unknown where it has no swap.
    #[serde(default)]
    pub swap_percent: Option<f64>,
    /// 0 to 100.
    pub disk_percent: Option<f64>,
    pub disk_used_gb: Option<f64>,
    pub disk_available_gb: Option<f64>,
    /// Received since the VM's boot, over all its interfaces.
    pub network_rx_mb: Option<f64>,
    /// Sent since the VM's boot, over all its interfaces.
    pub network_tx_mb: Option<f64>,
    /// Rate between this tick and the one before.
    pub network_rx_mb_per_s: Option<f64>,
    /// Rate between this tick and the one before.
    pub network_tx_mb_per_s: Option<f64>,
    /// Since the VM's last boot; 0 while it does not run.
    pub uptime_seconds: Option<u64>,
    pub sources: Sources,
}

impl VmFigures {
    /// As a page needs them: figures with two decimals, rates with four.
    #[must_use]
    pub fn rounded(self) -> Self {
        let [two, four] =
            [100.0, 10_000.0].map(|f: f64| move |value: Option<f64>| value.map(|v| (v * f).round() / f));
        Self {
            cpu_percent: two(self.cpu_percent),
            memory_percent: two(self.memory_percent),
            memory_used_mb: two(self.memory_used_mb),
            memory_available_mb: two(self.memory_available_mb),
            swap_percent: two(self.swap_percent),
            disk_percent: two(self.disk_percent),
            disk_used_gb: two(self.disk_used_gb),
            disk_available_gb: two(self.disk_available_gb),
            network_rx_mb: two(self.network_rx_mb),
            network_tx_mb: two(self.network_tx_mb),
            network_rx_mb_per_s: four(self.network_rx_mb_per_s),
            network_tx_mb_per_s: four(self.network_tx_mb_per_s),
            ..self
        }
    }
}
